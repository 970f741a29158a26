// The average pool of 3x3 pixels, stride 1, over those that lie in the image, and its gradient. Part of kernels.inl.

static inline int neighbours(int place, int size) { return 1 + (place > 0) + (place + 1 < size); } // with itself

// One image [height][width * channels] -> out. back: the gradient in the image from that in its pool. line, of
// (width + 2) * channels, and sums, of (height + 2) rows, have zeros for a border.
// column_factors: 1 / the number of neighbours in a row, of each value.
static inline void pool_image(const float *__restrict x, int height, int width, int channels, bool back,
                              const float *__restrict column_factors, float *__restrict line, float *__restrict sums,
                              float *__restrict out) {
    const int row_size = width * channels;
    for (int row = 0; row < height; ++row, x += row_size) {
        const float row_factor = 1.0f / neighbours(row, height);
        float *__restrict sum = sums + size_t(row + 1) * row_size, *__restrict inner = line + channels;
        for (int i = 0; i < row_size; ++i) inner[i] = back ? x[i] * (row_factor * column_factors[i]) : x[i];
        for (int i = 0; i < row_size; ++i) sum[i] = line[i] + line[i + channels] + line[i + 2 * channels];
    }
    for (int row = 0; row < height; ++row, out += row_size) {
        const float row_factor = 1.0f / neighbours(row, height);
        const float *__restrict sum = sums + size_t(row) * row_size;
        for (int i = 0; i < row_size; ++i) {
            const float total = sum[i] + sum[i + row_size] + sum[i + 2 * row_size];
            out[i] = back ? total : total * (row_factor * column_factors[i]);
        }
    }
}

static void run_average_pool(const float *x, int batch, int height, int width, int channels, int threads, bool back,
                             float *out) {
    const size_t row_size = size_t(width) * channels;
    Buffer<float> column_factors(row_size);
    for (size_t i = 0; i < row_size; ++i) column_factors.data[i] = 1.0f / neighbours(int(i / channels), width);
#pragma omp parallel num_threads(threads)
    {
        Buffer<float> line(row_size + 2 * size_t(channels)), sums((height + 2) * row_size);
#pragma omp for schedule(static)
        for (int n = 0; n < batch; ++n)
            pool_image(x + n * height * row_size, height, width, channels, back, column_factors.data, line.data,
                       sums.data, out + n * height * row_size);
    }
}
