// Convolutions of few channels to a group, forward and back; see kernels.cpp for the interface. Part of kernels.inl.
//
// A job takes a block of images and one group. It copies the group's channels into planes with a border of zeros, where
// a row of a kernel reads K * C neighbouring floats, whatever the padding is. Then it computes B outputs at a time, each
// a vector of V channels that reads from its own place in the planes: outputs of several small images fill the registers
// as those of a large one do.

// The planes of a block of images, as many as have 64 pixels.
struct Block {
    const GroupedConvolution &of;
    int channels, spread, reach, columns; // channels: that are read. spread: pixels between those that are loaded
    size_t plane;                         // floats of an image
    int height, width, images;            // of an image that is given, and how many to a block
    Block(const GroupedConvolution &of, int channels, int spread, int height, int width)
        : of(of), channels(channels), spread(spread), reach(of.kernel / 2), columns(of.width + 2 * reach),
          plane(size_t(of.height + 2 * reach) * columns * channels), height(height), width(width),
          images((63 + height * width) / (height * width)) {
        if (images > of.batch) images = of.batch;
    }
    int pitch() const { return columns * channels; }
    int pixels() const { return images * height * width; }
    int blocks() const { return (of.batch + images - 1) / images; }
    int count(int block) const { return of.batch - block * images < images ? of.batch - block * images : images; }
    int rows() const { return (of.height + spread - 1) / spread; }
    int across() const { return (of.width + spread - 1) / spread; }
    // x: [batch, pixels, groups * channels]
    void load(const float *x, int block, int group, float *planes) const {
        x += (size_t(block) * images * rows() * across() * of.groups + group) * channels;
        if (channels == 4) copy<4>(x, count(block), planes);
        else if (channels == 8) copy<8>(x, count(block), planes);
        else if (channels == 16) copy<16>(x, count(block), planes);
        else copy<0>(x, count(block), planes);
    }
    template <int C> void copy(const float *x, int count, float *planes) const {
        const size_t pixel = size_t(of.groups) * channels, apart = size_t(spread) * channels;
        const int width = across();
        for (int image = 0; image < count; ++image, planes += plane)
            for (int row = 0; row < rows(); ++row) {
                float *to = planes + (size_t(row * spread + reach) * columns + reach) * channels;
                for (int column = 0; column < width; ++column, x += pixel, to += apart)
                    std::memcpy(to, x, (C ? C : channels) * sizeof(float)); // a move or two, where C is known
            }
    }
};

// Where in the planes the pixels that a block gives begin to read, and `more` that read anything.
struct Places {
    Buffer<int> values;
    Places(const Block &block, int step, int more) : values(block.pixels() + more) { // step: pixels to the next one's
        int *to = values.data;
        for (int image = 0; image < block.images; ++image)
            for (int row = 0; row < block.height; ++row)
                for (int column = 0; column < block.width; ++column)
                    *to++ = int(image * block.plane) + (row * block.columns + column) * step * block.channels;
    }
};

// Sums of B outputs: over the rows i of a kernel and t < taps, of planes[places[b] + i * pitch + t] * weight[i][t][.].
template <int V, int B>
static inline void outputs(const float *planes, const int *places, int rows, int pitch, int taps, const float *weight,
                           Vector<V> (&sum)[B]) {
    const float *from[B];
    for (int b = 0; b < B; ++b) {
        from[b] = planes + places[b];
        sum[b] = Vector<V>{};
    }
    for (int i = 0; i < rows; ++i) {
        for (int t = 0; t < taps; ++t, weight += V) {
            const Vector<V> w = at<V>(weight);
            for (int b = 0; b < B; ++b) sum[b] += all<V>(from[b][t]) * w;
        }
        for (int b = 0; b < B; ++b) from[b] += pitch;
    }
}

// The weight as it is read in turn: [groups][parts of V channels][kernel][kernel * channels][V], zeros beyond channels.
// back: for the gradient in the images, a convolution with the weight turned round and its channels exchanged.
static inline void pack(const GroupedConvolution &of, const float *weight, bool back, int V, float *packed) {
    const int given = back ? of.in_channels : of.out_channels, read = back ? of.out_channels : of.in_channels;
    const int taps = of.kernel * of.kernel;
    for (int g = 0; g < of.groups; ++g)
        for (int first = 0; first < given; first += V)
            for (int tap = 0; tap < taps; ++tap)
                for (int c = 0; c < read; ++c, packed += V)
                    for (int v = 0; v < V && first + v < given; ++v) {
                        const int left = back ? c : first + v, right = back ? first + v : c;
                        packed[v] = weight[(size_t(g) * of.out_channels + left) * of.in_channels * taps +
                                           right * of.channel_step + (back ? taps - 1 - tap : tap) * of.tap_step];
                    }
}

// x, of images or back of slopes -> out, all [batch, pixels, groups * channels]
template <int V>
static void convolve_groups(const GroupedConvolution &of, bool back, const float *x, const float *weight, float *out) {
    constexpr int B = 8; // as many sums as half of the registers hold
    const int given = back ? of.in_channels : of.out_channels, parts = (given + V - 1) / V;
    const Block block = back ? Block(of, of.out_channels, of.stride, of.height, of.width)
                             : Block(of, of.in_channels, 1, of.out_height(), of.out_width());
    const Places places(block, back ? 1 : of.stride, B);
    const int taps = of.kernel * block.channels;
    const size_t weights = size_t(of.kernel) * taps * V, pixel = size_t(of.groups) * given;
    Buffer<float> packed(of.groups * parts * weights);
    pack(of, weight, back, V, packed.data);
#pragma omp parallel num_threads(of.threads)
    {
        Buffer<float> planes(block.images * block.plane);
#pragma omp for collapse(2) schedule(static)
        for (int n = 0; n < block.blocks(); ++n)
            for (int g = 0; g < of.groups; ++g) {
                block.load(x, n, g, planes.data);
                const int end = block.count(n) * block.height * block.width;
                for (int part = 0; part < parts; ++part) {
                    const int channels = given - part * V;
                    float *to = out + size_t(n) * block.pixels() * pixel + size_t(g) * given + part * V;
                    for (int p = 0; p < end; p += B) {
                        Vector<V> sum[B];
                        outputs<V, B>(planes.data, places.values.data + p, of.kernel, block.pitch(), taps,
                                      packed.data + (size_t(g) * parts + part) * weights, sum);
                        for (int b = 0; b < B && p + b < end; ++b, to += pixel)
                            if (channels >= V) at<V>(to) = sum[b];
                            else
                                for (int c = 0; c < channels; ++c) to[c] = sum[b][c];
                    }
                }
            }
    }
}

static void run_convolution(const GroupedConvolution &of, bool back, const float *x, const float *weight, float *out) {
    const int given = back ? of.in_channels : of.out_channels;
#if LANES >= 16
    if (given % 16 == 0) return convolve_groups<16>(of, back, x, weight, out);
#endif
#if LANES >= 8
    if (given % 8 == 0) return convolve_groups<8>(of, back, x, weight, out);
#endif
    convolve_groups<4>(of, back, x, weight, out);
}

// T rows of the gradient in a weight: total[t][.] += sum over outputs p of planes[places[p] + t] * slopes[p][.].
template <int V, int T>
static inline void tap_slopes(const float *planes, const int *places, const float *slopes, int count, double *total) {
    Vector<V> sum[T] = {};
    for (int p = 0; p < count; ++p, slopes += V) {
        const Vector<V> slope = at<V>(slopes);
        const float *x = planes + places[p];
        for (int t = 0; t < T; ++t) sum[t] += all<V>(x[t]) * slope;
    }
    for (int t = 0; t < T; ++t)
        for (int v = 0; v < V; ++v) total[t * V + v] += sum[t][v];
}

// Calls body(first, count) for the taps of a row of the kernel, as many at a time as there are registers for.
template <typename Body> static inline void twelves(int taps, Body body) {
    for (int t = 0; t < taps;) {
        const auto next = [&](auto count) {
            body(t, count);
            t += count();
        };
        const int left = taps - t;
        if (left % 12 == 0) next(std::integral_constant<int, 12>());
        else if (left >= 8) next(std::integral_constant<int, 8>());
        else if (left >= 4) next(std::integral_constant<int, 4>());
        else if (left == 3) next(std::integral_constant<int, 3>());
        else next(std::integral_constant<int, 1>());
    }
}

// V of one group's channels of a block's slopes -> [pixels][V]; fewer where the group has no more, and nothing is read of the others.
template <int V> static void gather(const float *slope, int pixels, size_t pixel, int channels, float *to) {
    for (int p = 0; p < pixels; ++p, to += V, slope += pixel)
        if (channels >= V) at<V>(to) = at<V>(slope);
        else
            for (int c = 0; c < channels; ++c) to[c] = slope[c];
}

// The sums of chunks [chunks][groups][parts][kernel][kernel * channels][V] -> the gradient, as the weight lies.
static inline void unpack(const GroupedConvolution &of, const double *totals, int chunks, int parts, int V, float *out) {
    const int taps = of.kernel * of.kernel;
    const size_t weights = size_t(taps) * of.in_channels * V, chunk = of.groups * parts * weights;
    for (int o = 0; o < of.groups * of.out_channels; ++o) {
        const int g = o / of.out_channels, channel = o % of.out_channels;
        const double *total = totals + (size_t(g) * parts + channel / V) * weights + channel % V;
        for (int tap = 0; tap < taps; ++tap)
            for (int c = 0; c < of.in_channels; ++c, total += V) {
                double sum = 0;
                for (int n = 0; n < chunks; ++n) sum += total[n * chunk];
                out[size_t(o) * of.in_channels * taps + c * of.channel_step + tap * of.tap_step] = float(sum);
            }
    }
}

// Sums of chunks of images are kept apart, so that how many threads share them changes nothing.
template <int V>
static void slopes_in_weight(const GroupedConvolution &of, const float *x, const float *slope, float *out) {
    const Block block(of, of.in_channels, 1, of.out_height(), of.out_width());
    const Places places(block, of.stride, 0);
    const int parts = (of.out_channels + V - 1) / V, taps = of.kernel * of.in_channels;
    const long most = 1 + long(block.blocks()) * block.pixels() / 4096; // pixels that are worth sums of their own
    const int chunks = int(most < 16 ? most : 16), each = (block.blocks() + chunks - 1) / chunks;
    const size_t weights = size_t(of.kernel) * taps * V, pixel = size_t(of.groups) * of.out_channels;
    Buffer<double> totals(chunks * of.groups * parts * weights);
#pragma omp parallel num_threads(of.threads)
    {
        Buffer<float> planes(block.images * block.plane), slopes(size_t(block.pixels()) * V);
#pragma omp for collapse(2) schedule(static)
        for (int chunk = 0; chunk < chunks; ++chunk)
            for (int g = 0; g < of.groups; ++g)
                for (int n = chunk * each; n < (chunk + 1) * each && n < block.blocks(); ++n) {
                    const int end = block.count(n) * block.height * block.width;
                    const float *first = slope + size_t(n) * block.pixels() * pixel + size_t(g) * of.out_channels;
                    block.load(x, n, g, planes.data);
                    double *total = totals.data + (size_t(chunk) * of.groups + g) * parts * weights;
                    for (int part = 0; part < parts; ++part, total += weights) {
                        gather<V>(first + part * V, end, pixel, of.out_channels - part * V, slopes.data);
                        for (int p = 0; p < end; p += 256) // few enough to be added in single precision
                            for (int i = 0; i < of.kernel; ++i)
                                twelves(taps, [&](int t, auto count) {
                                    tap_slopes<V, count()>(planes.data + i * block.pitch() + t, places.values.data + p,
                                                           slopes.data + size_t(p) * V, end - p < 256 ? end - p : 256,
                                                           total + (size_t(i) * taps + t) * V);
                                });
                    }
                }
    }
    unpack(of, totals.data, chunks, parts, V, out);
}

static void run_convolution_weight(const GroupedConvolution &of, const float *x, const float *slope, float *out) {
#if LANES >= 16
    if (of.out_channels % 16 == 0) return slopes_in_weight<16>(of, x, slope, out);
#endif
#if LANES >= 8
    if (of.out_channels % 8 == 0) return slopes_in_weight<8>(of, x, slope, out);
#endif
    slopes_in_weight<4>(of, x, slope, out);
}
