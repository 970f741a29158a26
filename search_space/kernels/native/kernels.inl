// The four passes of the separable operations on the edges that enter a node; see kernels.cpp for the interface.
// Included once for each instruction set, each time in a namespace of its own.

#include "compiled/vectors.inl"

template <int V> static inline Vector<V> keep(Vector<V> value, Vector<V> where_positive) {
    return where_positive > 0.0f ? value : Vector<V>{};
}

// An image of V channels with a border of zeros: [height + 2 border][width + 2 border][V].
template <int V> struct Plane {
    int width, border;
    Buffer<float> values;
    Plane(int height, int width, int border)
        : width(width + 2 * border), border(border), values(size_t(height + 2 * border) * this->width * V) {}
    void load(const float *image, int height, int width, int channels) {
        for (int row = 0; row < height; ++row)
            for (int column = 0; column < width; ++column, image += channels) at<V>(pixel(row, column)) = at<V>(image);
    }
    float *pixel(int row, int column) { return values.data + (size_t(row + border) * width + column + border) * V; }
};

// B neighbouring outputs of a depthwise convolution: tile[b * pitch] (+)= sum over taps of input * weight.
template <int V, int K, int B>
static inline void taps(const float *input, int width, int step, int dilation, const float *weight, ptrdiff_t tap,
                        float *tile, int pitch, bool add) {
    Vector<V> sum[B];
    for (int b = 0; b < B; ++b) sum[b] = add ? at<V>(tile + size_t(b) * pitch) : Vector<V>{};
    for (int i = 0; i < K; ++i)
        for (int j = 0; j < K; ++j) {
            const Vector<V> w = at<V>(weight + (i * K + j) * tap);
            const float *x = input + (size_t(i) * width + j) * dilation * V;
            for (int b = 0; b < B; ++b) sum[b] += at<V>(x + b * step * V) * w;
        }
    for (int b = 0; b < B; ++b) at<V>(tile + size_t(b) * pitch) = sum[b];
}

template <int V, int K>
static void convolve(Plane<V> &plane, int height, int width, int stride, int dilation, const float *weight,
                     ptrdiff_t tap, float *tile, int pitch, bool add) {
    const int reach = dilation * (K / 2);
    for (int row = 0; row < height; ++row)
        for (int column = 0; column < width;) {
            const float *input = plane.pixel(row * stride - reach, column * stride - reach);
            float *out = tile + (size_t(row) * width + column) * pitch;
            if (width - column >= 8) {
                taps<V, K, 8>(input, plane.width, stride, dilation, weight, tap, out, pitch, add);
                column += 8;
            } else if (width - column >= 4) {
                taps<V, K, 4>(input, plane.width, stride, dilation, weight, tap, out, pitch, add);
                column += 4;
            } else {
                taps<V, K, 1>(input, plane.width, stride, dilation, weight, tap, out, pitch, add);
                column += 1;
            }
        }
}

// weight: [kernel * kernel][channels]; the gradient in the input is the convolution with the taps in reverse.
template <int V>
static void convolve(const Operation &operation, const float *weight, bool reverse, Plane<V> &plane, int height,
                     int width, int stride, ptrdiff_t channels, float *tile, int pitch, bool add) {
    const auto pass = operation.kernel == 3 ? convolve<V, 3> : operation.kernel == 5 ? convolve<V, 5> : convolve<V, 7>;
    const float *first = reverse ? weight + (operation.kernel * operation.kernel - 1) * channels : weight;
    pass(plane, height, width, stride, operation.dilation, first, reverse ? -channels : channels, tile, pitch, add);
}

// P rows times a matrix, V of its columns: sum[p] += sum over c of rows[p][c] * matrix[c][.].
template <int V, int P>
static inline void product(Vector<V> (&sum)[P], const float *rows, const float *matrix, int C) {
    for (int c = 0; c < C; ++c) {
        const Vector<V> m = at<V>(matrix + size_t(c) * C);
        for (int p = 0; p < P; ++p) sum[p] += all<V>(rows[size_t(p) * C + c]) * m;
    }
}

// V rows and columns of the sum over pixels of left[p]^T right[p], added to total [C][C].
template <int V>
static inline void outer(const float *left, const float *right, int pixels, double *total, int C) {
    Vector<V> sum[V] = {};
    for (int p = 0; p < pixels; ++p) {
        const Vector<V> r = at<V>(right + size_t(p) * C);
        for (int i = 0; i < V; ++i) sum[i] += all<V>(left[size_t(p) * C + i]) * r;
    }
    for (int i = 0; i < V; ++i)
        for (int v = 0; v < V; ++v) total[size_t(i) * C + v] += sum[i][v];
}

// Adds sum over the pixels of an image of left^T right [C][C], then of right [C], to totals in double precision.
template <int V> static void moments(const float *left, const float *right, int pixels, int C, double *total) {
    for (int column = 0; column < C; column += V) {
        for (int row = 0; row < C; row += V)
            outer<V>(left + row, right + column, pixels, total + size_t(row) * C + column, C);
        Vector<V> sum = {};
        for (int p = 0; p < pixels; ++p) sum += at<V>(right + size_t(p) * C + column);
        for (int v = 0; v < V; ++v) total[size_t(C) * C + column + v] += sum[v];
    }
}

// Calls body(first, count) for all pixels of an image, eight at a time.
template <typename Body> static inline void eights(int pixels, Body body) {
    int first = 0;
    for (; first + 8 <= pixels; first += 8) body(first, std::integral_constant<int, 8>());
    for (; first < pixels; ++first) body(first, std::integral_constant<int, 1>());
}

// Totals of each thread, added in the order of the threads.
struct Totals {
    size_t each;
    Buffer<double> values;
    Totals(int threads, size_t each) : each(each), values(threads * each) {}
    double *of(int thread) { return values.data + thread * each; }
    void add_to(double *result, size_t from, size_t count) const {
        for (size_t first = from; first < values.size; first += each)
            for (size_t i = 0; i < count; ++i) result[i] += values.data[first + i];
    }
};

static inline const float *last(const Operation &of) { return of.second ? of.second : of.first; }

// One plane for the states at the node's size and one for those at twice its size, which edges of stride 2 leave.
template <int V> struct Planes {
    Plane<V> same, twice;
    explicit Planes(const Node &node)
        : same(node.height, node.width, node.border), twice(2 * node.height, 2 * node.width, node.border) {}
    Plane<V> &of(const State &state) { return state.stride == 1 ? same : twice; }
};

template <int V> static void first_forward(const Node &node, const State *states, int operations, const Operation *of) {
    const int C = node.C, pixels = node.height * node.width;
    const size_t moment = size_t(C) * (C + 1);
    Totals totals(node.threads, operations * node.groups * moment);
#pragma omp parallel num_threads(node.threads)
    {
        double *mine = totals.of(omp_get_thread_num());
        Planes<V> planes(node);
#pragma omp for collapse(2) schedule(static)
        for (int g = 0; g < node.groups; ++g)
            for (int n = 0; n < node.batch; ++n) {
                const State &x = states[g];
                Plane<V> &plane = planes.of(x);
                const size_t image = (size_t(g) * node.batch + n) * pixels * C;
                for (int column = 0; column < C; column += V) {
                    plane.load(x.values + size_t(n) * x.height * x.width * C + column, x.height, x.width, C);
                    for (int o = 0; o < operations; ++o)
                        convolve<V>(of[o], of[o].first_weight + g * C + column, false, plane, node.height, node.width,
                                    x.stride, node.groups * C, of[o].first + image + column, C, false);
                }
                for (int o = 0; o < operations; ++o)
                    moments<V>(of[o].first + image, of[o].first + image, pixels, C,
                               mine + (size_t(o) * node.groups + g) * moment);
            }
    }
    for (int o = 0; o < operations; ++o)
        totals.add_to(of[o].first_moments, o * node.groups * moment, node.groups * moment);
}

// V channels of what the second depthwise convolution reads, before ReLU: body(pixel, value).
template <int V, typename Body>
static inline void hidden(const Node &node, const Operation &of, size_t image, int g, int column, Body body) {
    const int C = node.C;
    const Vector<V> bias = at<V>(of.hidden_bias + g * C + column);
    eights(node.height * node.width, [&](int first, auto count) {
        Vector<V> sum[count()];
        for (auto &value : sum) value = bias;
        product<V, count()>(sum, of.first + image + size_t(first) * C, of.hidden_weight + size_t(g) * C * C + column, C);
        for (int p = 0; p < count(); ++p) body(first + p, sum[p]);
    });
}

template <int V> static void second_forward(const Node &node, const Operation &of) {
    const int C = node.C, pixels = node.height * node.width;
    const size_t moment = size_t(C) * (C + 1);
    Totals totals(node.threads, node.groups * moment);
#pragma omp parallel num_threads(node.threads)
    {
        double *mine = totals.of(omp_get_thread_num());
        Plane<V> plane(node.height, node.width, node.border);
#pragma omp for collapse(2) schedule(static)
        for (int g = 0; g < node.groups; ++g)
            for (int n = 0; n < node.batch; ++n) {
                const size_t image = (size_t(g) * node.batch + n) * pixels * C;
                for (int column = 0; column < C; column += V) {
                    hidden<V>(node, of, image, g, column, [&](int p, Vector<V> value) {
                        at<V>(plane.pixel(p / node.width, p % node.width)) = keep<V>(value, value);
                    });
                    convolve<V>(of, of.second_weight + g * C + column, false, plane, node.height, node.width, 1,
                                node.groups * C, of.second + image + column, C, false);
                }
                moments<V>(of.second + image, of.second + image, pixels, C, mine + g * moment);
            }
    }
    totals.add_to(of.second_moments, 0, node.groups * moment);
}

// sum over operations and edges of features @ weight, plus bias [C] -> output.
template <int V> static void mix(const Node &node, int operations, const Operation *of, const float *bias, float *output) {
    const int C = node.C, pixels = node.height * node.width;
#pragma omp parallel for num_threads(node.threads) schedule(static)
    for (int n = 0; n < node.batch; ++n)
        for (int column = 0; column < C; column += V)
            eights(pixels, [&](int first, auto count) {
                Vector<V> sum[count()];
                for (auto &value : sum) value = at<V>(bias + column);
                for (int o = 0; o < operations; ++o)
                    for (int g = 0; g < node.groups; ++g)
                        product<V, count()>(sum, last(of[o]) + ((size_t(g) * node.batch + n) * pixels + first) * C,
                                            of[o].mixing_weight + size_t(g) * C * C + column, C);
                for (int p = 0; p < count(); ++p)
                    at<V>(output + (size_t(n) * pixels + first + p) * C + column) = sum[p];
            });
}

// Products of features with the gradient of what `mix` gives, for every operation and edge.
template <int V> static void mix_backward(const Node &node, int operations, const Operation *of, const float *slope) {
    const int C = node.C, pixels = node.height * node.width;
    const size_t moment = size_t(C) * (C + 1);
    Totals totals(node.threads, operations * node.groups * moment);
#pragma omp parallel num_threads(node.threads)
    {
        double *mine = totals.of(omp_get_thread_num());
#pragma omp for schedule(static)
        for (int n = 0; n < node.batch; ++n)
            for (int o = 0; o < operations; ++o)
                for (int g = 0; g < node.groups; ++g)
                    moments<V>(last(of[o]) + (size_t(g) * node.batch + n) * pixels * C, slope + size_t(n) * pixels * C,
                               pixels, C, mine + (size_t(o) * node.groups + g) * moment);
    }
    for (int o = 0; o < operations; ++o)
        totals.add_to(of[o].mixing_moments, o * node.groups * moment, node.groups * moment);
}

// The gradient in features, V channels of one image: slope @ folded^T + features @ matrix + offset, into a plane.
template <int V>
static inline void features_slope(const Node &node, const FoldSlopes &fold, const float *features, int n, int g,
                                  int column, int spread, Plane<V> &plane) {
    const int C = node.C, pixels = node.height * node.width;
    const size_t matrix = size_t(g) * C * C + column, image = (size_t(g) * node.batch + n) * pixels * C;
    const float *slope = fold.slope + (fold.slope_by_group ? image : size_t(n) * pixels * C);
    const Vector<V> offset = at<V>(fold.offset + g * C + column);
    eights(pixels, [&](int first, auto count) {
        Vector<V> sum[count()];
        for (auto &value : sum) value = offset;
        product<V, count()>(sum, slope + size_t(first) * C, fold.transposed + matrix, C);
        product<V, count()>(sum, features + image + size_t(first) * C, fold.matrix + matrix, C);
        for (int p = 0; p < count(); ++p)
            at<V>(plane.pixel((first + p) / node.width * spread, (first + p) % node.width * spread)) = sum[p];
    });
}

template <int V> static void second_backward(const Node &node, const Operation &of) {
    const int C = node.C, pixels = node.height * node.width;
    const size_t moment = size_t(C) * (C + 1);
    Totals totals(node.threads, node.groups * moment);
#pragma omp parallel num_threads(node.threads)
    {
        double *mine = totals.of(omp_get_thread_num());
        Plane<V> plane(node.height, node.width, node.border);
#pragma omp for collapse(2) schedule(static)
        for (int g = 0; g < node.groups; ++g)
            for (int n = 0; n < node.batch; ++n) {
                const size_t image = (size_t(g) * node.batch + n) * pixels * C;
                float *slope = of.hidden_slope + image;
                for (int column = 0; column < C; column += V) {
                    features_slope<V>(node, of.of_second, of.second, n, g, column, 1, plane);
                    convolve<V>(of, of.second_weight + g * C + column, true, plane, node.height, node.width, 1,
                                node.groups * C, slope + column, C, false);
                    hidden<V>(node, of, image, g, column, [&](int p, Vector<V> value) {
                        float *there = slope + size_t(p) * C + column;
                        at<V>(there) = keep<V>(at<V>(there), value);
                    });
                }
                moments<V>(of.first + image, slope, pixels, C, mine + g * moment);
            }
    }
    totals.add_to(of.hidden_moments, 0, node.groups * moment);
}

template <int V> static void first_backward(const Node &node, const State *states, int operations, const Operation *of) {
    const int C = node.C;
#pragma omp parallel num_threads(node.threads)
    {
        Planes<V> planes(node);
#pragma omp for collapse(2) schedule(static)
        for (int g = 0; g < node.groups; ++g)
            for (int n = 0; n < node.batch; ++n) {
                const State &x = states[g];
                if (!x.slope) continue;
                const size_t image = size_t(n) * x.height * x.width * C;
                for (int column = 0; column < C; column += V) {
                    float *slope = x.slope + image + column;
                    for (int o = 0; o < operations; ++o) {
                        features_slope<V>(node, of[o].of_first, of[o].first, n, g, column, x.stride, planes.of(x));
                        convolve<V>(of[o], of[o].first_weight + g * C + column, true, planes.of(x), x.height, x.width, 1,
                                    node.groups * C, slope, C, o > 0);
                    }
                }
            }
    }
}

// The gradient of a depthwise convolution in V channels of its weight, of one image, added to total [K * K][channels].
template <int V, int K>
static void weight_slope(Plane<V> &plane, const Convolution &of, const float *slope, double *total) {
    const int reach = of.dilation * (K / 2);
    Vector<V> sum[K * K] = {};
    for (int row = 0; row < of.out_height; ++row)
        for (int column = 0; column < of.out_width; ++column, slope += of.channels) {
            const Vector<V> s = at<V>(slope);
            const float *x = plane.pixel(row * of.stride - reach, column * of.stride - reach);
            for (int i = 0; i < K; ++i)
                for (int j = 0; j < K; ++j)
                    sum[i * K + j] += at<V>(x + (size_t(i) * plane.width + j) * of.dilation * V) * s;
        }
    for (int tap = 0; tap < K * K; ++tap)
        for (int v = 0; v < V; ++v) total[size_t(tap) * of.channels + v] += sum[tap][v];
}

template <int V> static void weight_slopes(const Convolution &of, const float *images, const float *slope, double *total) {
    const auto pass = of.kernel == 3 ? weight_slope<V, 3> : of.kernel == 5 ? weight_slope<V, 5> : weight_slope<V, 7>;
    const size_t pixels = size_t(of.height) * of.width, out_pixels = size_t(of.out_height) * of.out_width;
    Totals totals(of.threads, size_t(of.kernel) * of.kernel * of.channels);
#pragma omp parallel num_threads(of.threads)
    {
        double *mine = totals.of(omp_get_thread_num());
        Plane<V> plane(of.height + 1, of.width + 1, of.dilation * (of.kernel / 2));
#pragma omp for schedule(static)
        for (int n = 0; n < of.batch; ++n)
            for (int channel = 0; channel < of.channels; channel += V) {
                plane.load(images + n * pixels * of.channels + channel, of.height, of.width, of.channels);
                pass(plane, of, slope + n * out_pixels * of.channels + channel, mine + channel);
            }
    }
    totals.add_to(total, 0, totals.each);
}

static void run_weight(const Convolution &of, const float *images, const float *slope, double *total) {
    if (of.channels % 16 == 0) weight_slopes<16>(of, images, slope, total);
    else weight_slopes<8>(of, images, slope, total);
}

// Sums over rows of right and of left * right, V columns from `column`, by float in blocks and double over them.
template <int V>
static void block_sums(const float *left, const float *right, int rows, int channels, double *total) {
    for (int column = 0; column < channels; column += V) {
        Vector<V> sum = {}, products = {};
        for (int row = 0; row < rows; ++row) {
            const Vector<V> r = at<V>(right + size_t(row) * channels + column);
            sum += r;
            products += at<V>(left + size_t(row) * channels + column) * r;
        }
        for (int v = 0; v < V; ++v) {
            total[column + v] += sum[v];
            total[channels + column + v] += products[v];
        }
    }
}

static void run_sums(const float *left, const float *right, long rows, int channels, int threads, double *total) {
    const long block = 128;
    Totals totals(threads, 2 * size_t(channels));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long first = 0; first < rows; first += block) {
        const int count = int(rows - first < block ? rows - first : block);
        const size_t at_row = size_t(first) * channels;
        (channels % 16 ? block_sums<8> : block_sums<16>)(left + at_row, right + at_row, count, channels,
                                                         totals.of(omp_get_thread_num()));
    }
    totals.add_to(total, 0, totals.each);
}

static void run(const Node &node, int pass, const State *states, int operations, const Operation *of, float *values) {
#define PASSES(V)                                                                                                      \
    switch (pass) {                                                                                                    \
    case 0: return first_forward<V>(node, states, operations, of);                                                     \
    case 1: return second_forward<V>(node, *of);                                                                       \
    case 2: return mix<V>(node, operations, of, node.bias, values);                                                    \
    case 3: return mix_backward<V>(node, operations, of, values);                                                      \
    case 4: return second_backward<V>(node, *of);                                                                      \
    case 5: return first_backward<V>(node, states, operations, of);                                                    \
    }
    if (node.C % 16 == 0) PASSES(16) else PASSES(8)
#undef PASSES
}

// Batch norm of rows [rows][C] as rows of W columns: C itself, or 8 where several rows of C fit into them.
struct Columns {
    long rows;
    int W;
    Columns(long rows, int C) : rows(C % 8 ? rows * C / 8 : rows), W(C % 8 ? 8 : C) {}
    long blocks() const { return (rows + 127) / 128; }
    void sums(const float *left, const float *right, int C, int threads, double *total) const { // total [2][C]
        Buffer<double> wide(2 * size_t(W));
        run_sums(left, right, rows, W, threads, wide.data);
        for (int i = 0; i < 2 * W; ++i) total[i / W * C + i % W % C] += wide.data[i];
    }
    void repeat(const double *values, int C, float sign, float *wide) const {
        for (int i = 0; i < W; ++i) wide[i] = sign * float(values[i % C]);
    }
};

// out = x * factor + offset of one block; with `base` added to it first: out = base * base_factor + offset + x * factor
template <int V>
static void affine(const float *x, const float *base, int rows, int W, const float *factor, const float *base_factor,
                   const float *offset, float *out) {
    for (int column = 0; column < W; column += V) {
        const Vector<V> f = at<V>(factor + column), o = at<V>(offset + column);
        const Vector<V> b = base ? at<V>(base_factor + column) : Vector<V>{};
        for (int row = 0; row < rows; ++row) {
            const size_t place = size_t(row) * W + column;
            Vector<V> value = o;
            if (base) value += at<V>(base + place) * b;
            at<V>(out + place) = value + at<V>(x + place) * f;
        }
    }
}

static void run_affine(const Columns &of, const float *x, const float *base, const float *factor,
                       const float *base_factor, const float *offset, int threads, float *out) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long block = 0; block < of.blocks(); ++block) {
        const long first = block * 128;
        const size_t place = size_t(first) * of.W;
        (of.W % 16 ? affine<8> : affine<16>)(x + place, base ? base + place : nullptr,
                                             int(of.rows - first < 128 ? of.rows - first : 128), of.W, factor,
                                             base_factor, offset, out + place);
    }
}

static void run_batch_norm(const float *x, long rows, int C, int threads, double eps, double *kept, float *out) {
    const Columns of(rows, C);
    Buffer<double> total(2 * size_t(C)), shift(C);
    of.sums(x, x, C, threads, total.data);
    for (int c = 0; c < C; ++c) {
        const double mean = total.data[c] / rows, variance = total.data[C + c] / rows - mean * mean;
        kept[c] = mean;
        kept[C + c] = 1 / __builtin_sqrt((variance < 0 ? 0 : variance) + eps); // below 0 by rounding alone; NaN stays NaN
        shift.data[c] = -mean * kept[C + c];
    }
    Buffer<float> wide(2 * size_t(of.W));
    of.repeat(kept + C, C, 1, wide.data);
    of.repeat(shift.data, C, 1, wide.data + of.W);
    run_affine(of, x, nullptr, wide.data, nullptr, wide.data + of.W, threads, out);
}

static void run_batch_norm_backward(const float *x, const float *slope, long rows, int C, int threads,
                                    const double *kept, float *out) {
    const Columns of(rows, C);
    Buffer<double> total(2 * size_t(C)), values(2 * size_t(C));
    double *along = values.data, *offset = values.data + C;
    of.sums(x, slope, C, threads, total.data);
    for (int c = 0; c < C; ++c) {
        const double mean = kept[c], factor = kept[C + c], sum = total.data[c], products = total.data[C + c];
        along[c] = factor * factor * factor * (products - mean * sum) / rows;
        offset[c] = mean * along[c] - factor * sum / rows;
    }
    Buffer<float> wide(3 * size_t(of.W));
    of.repeat(along, C, -1, wide.data);
    of.repeat(kept + C, C, 1, wide.data + of.W);
    of.repeat(offset, C, 1, wide.data + 2 * of.W);
    run_affine(of, x, slope, wide.data, wide.data + of.W, wide.data + 2 * of.W, threads, out);
}

#include "search_space/kernels/native/convolution.inl"
#include "search_space/kernels/native/pooling.inl"
#include "search_space/kernels/native/network.inl"
