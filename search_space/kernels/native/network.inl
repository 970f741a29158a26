// A whole network whose weights are fixed, V images at a time, one in each lane of a vector: any number of channels, and
// any operation, fills the vectors. What an image goes through stays in the core's cache, and nothing is called between
// steps. See kernels.cpp for the interface; included by kernels.inl, once for each instruction set.

constexpr int IMAGES = LANES < 8 ? 8 : LANES; // side by side

template <int V> static inline Vector<V> rectify(Vector<V> value) { return value < 0.0f ? Vector<V>{} : value; } // NaN stays
template <int V> static inline Vector<V> pass(Vector<V> slope, Vector<V> value) {
    return value <= 0.0f ? Vector<V>{} : slope;
}

struct Room { // floats, of any values
    float *data;
    explicit Room(size_t size) : data(static_cast<float *>(std::malloc(size * sizeof(float)))) {
        if (!data) std::abort();
    }
    Room(const Room &) = delete;
    ~Room() { std::free(data); }
};

// A convolution of rows that lie between zeros: sum over inputs and taps of pixel * weight, of several outputs at once.
template <int V> struct Sum {
    const float *rows; // [inputs][height][side + width + side][V], of zeros on both sides
    int inputs, height, width, side;
    float *result; // [outputs][out_height][out_width][V]
    int outputs, out_height, out_width;
    int kernel[2], stride[2], top, dilation; // top: rows above the first that the first tap reads
    const float *weight;
    ptrdiff_t of_output, of_input, of_tap; // how far apart weights lie
    const float *bias;                     // [outputs], or null
    bool added;                            // to what is there
};

struct Taps { // those of a row or column that read something
    int first, end;
    Taps(int kernel, int dilation, int from, int to, int size) : first(0), end(kernel) { // the first tap's pixels, from `from` to `to`
        while (first < end && to + first * dilation < 0) ++first;
        while (first < end && from + (end - 1) * dilation >= size) --end;
    }
};

template <int V, int O, int P> static inline void tile(const Sum<V> &of, const Taps &high, int output, int row, int column) {
    Vector<V> sum[O][P];
    float *result[O];
    for (int o = 0; o < O; ++o) {
        result[o] = of.result + ((size_t(output + o) * of.out_height + row) * of.out_width + column) * V;
        for (int p = 0; p < P; ++p) {
            sum[o][p] = of.added ? at<V>(result[o] + p * V) : Vector<V>{};
            if (of.bias) sum[o][p] += all<V>(of.bias[output + o]);
        }
    }
    const int pitch = of.width + 2 * of.side, left = column * of.stride[1] - of.side;
    const size_t plane = size_t(of.height) * pitch * V;
    const float *weight = of.weight + output * of.of_output;
    const auto add = [&](const float *x, const float *tap) {
        for (int o = 0; o < O; ++o) {
            const Vector<V> w = all<V>(tap[o * of.of_output]);
            for (int p = 0; p < P; ++p) sum[o][p] += at<V>(x + p * of.stride[1] * V) * w;
        }
    };
    if (of.kernel[0] * of.kernel[1] == 1) {
        const float *x = of.rows + (size_t(row) * of.stride[0] * pitch + column * of.stride[1]) * V;
        for (int c = 0; c < of.inputs; ++c) add(x + c * plane, weight + c * of.of_input);
    } else {
        const Taps wide(of.kernel[1], of.dilation, left, left + (P - 1) * of.stride[1], of.width);
        for (int c = 0; c < of.inputs; ++c, weight += of.of_input)
            for (int i = high.first; i < high.end; ++i) {
                const int y = row * of.stride[0] - of.top + i * of.dilation;
                const float *x = of.rows + c * plane + (size_t(y) * pitch + column * of.stride[1]) * V;
                for (int j = wide.first; j < wide.end; ++j)
                    add(x + j * of.dilation * V, weight + (i * of.kernel[1] + j) * of.of_tap);
            }
    }
    for (int o = 0; o < O; ++o)
        for (int p = 0; p < P; ++p) at<V>(result[o] + p * V) = sum[o][p];
}

template <int V, int O, int P>
static inline void columns(const Sum<V> &of, const Taps &high, int output, int row, int column) {
    for (; column + P <= of.out_width; column += P) tile<V, O, P>(of, high, output, row, column);
    if constexpr (P > 1) columns<V, O, P / 2>(of, high, output, row, column);
}

template <int V, int O, int P> static void rows(const Sum<V> &of, int output) {
    for (int row = 0; row < of.out_height; ++row) {
        const int top = row * of.stride[0] - of.top;
        columns<V, O, P>(of, Taps(of.kernel[0], of.dilation, top, top, of.height), output, row, 0);
    }
}

template <int V> static void convolve(const Sum<V> &of) {
    int output = 0;
    for (; output + 4 <= of.outputs; output += 4) rows<V, 4, 2>(of, output);
    for (; output + 2 <= of.outputs; output += 2) rows<V, 2, 4>(of, output);
    for (; output < of.outputs; ++output) rows<V, 1, 8>(of, output);
}

// body(value, pixel) of each pixel of each channel
template <typename Body> static inline void pixels(const NetworkValue &of, Body body) {
    for (int c = 0; c < of.channels; ++c)
        for (int p = 0; p < of.height * of.width; ++p) body(c, size_t(c) * of.height * of.width + p);
}

// V images on their way through a network, and back.
template <int V> struct ThroughNetwork {
    const FixedNetwork &of;
    float *kept;                          // [of.kept][V]
    const float *weights;                 // of the network that they go through
    Room slopes;                 // the same, of gradients
    Room passing, passing_slope; // what lies between two convolutions, read once
    Room rows, found;

    ThroughNetwork(const FixedNetwork &of, bool back)
        : of(of), kept(nullptr), weights(of.weights), slopes(back ? of.kept * V : 1), passing(of.passing * V),
          passing_slope(back ? of.passing * V : 1), rows(of.rows * V), found(back ? of.found * V : 1) {}

    const NetworkValue &value(int index) const { return of.values[index]; }
    float *values(int index) { return (value(index).passing ? passing.data : kept) + value(index).place * V; }
    float *slopes_of(int index) {
        return (value(index).passing ? passing_slope.data : slopes.data) + value(index).place * V;
    }

    // Rows of an image between zeros; spread: pixels that lie so far apart, with zeros between them.
    void lay(const float *x, int channels, int height, int width, int side, bool rectified, const int *spread,
             int room) {
        const int wide = room + 2 * side, high = (height - 1) * spread[0] + 1;
        if (side || spread[0] > 1 || spread[1] > 1)
            std::memset(rows.data, 0, size_t(channels) * high * wide * V * sizeof(float));
        for (int c = 0; c < channels; ++c)
            for (int row = 0; row < height; ++row) {
                float *to = rows.data + ((size_t(c) * high + row * spread[0]) * wide + side) * V;
                for (int column = 0; column < width; ++column, x += V)
                    at<V>(to + column * spread[1] * V) = rectified ? rectify<V>(at<V>(x)) : at<V>(x);
            }
    }

    // Sums over all inputs, or by channel. first, second: which of the weights' axes is the output's, and the input's.
    void sum(Sum<V> sum, const NetworkStep &step, bool by_channel) {
        if (!by_channel) return convolve<V>(sum);
        const int channels = sum.outputs;
        sum.inputs = sum.outputs = 1;
        for (int c = 0; c < channels; ++c) {
            convolve<V>(sum);
            sum.rows += size_t(sum.height) * (sum.width + 2 * sum.side) * V;
            sum.result += size_t(sum.out_height) * sum.out_width * V;
            sum.weight += step.kernel[0] * step.kernel[1];
        }
    }

    void convolution(const NetworkStep &step, bool by_channel) {
        const NetworkValue &in = value(step.input), &out = value(step.output);
        const int taps = step.kernel[0] * step.kernel[1], side = step.padding[1], once[2] = {1, 1};
        const bool direct = taps == 1 && step.stride[0] * step.stride[1] == 1;
        const bool as_it_is = direct && !step.rectified;
        if (!as_it_is) lay(values(step.input), in.channels, in.height, in.width, side, step.rectified, once, in.width);
        Sum<V> s = {as_it_is ? values(step.input) : rows.data, in.channels, in.height, in.width, side,
                    values(step.output), out.channels, out.height, out.width,
                    {step.kernel[0], step.kernel[1]}, {step.stride[0], step.stride[1]}, step.padding[0], step.dilation,
                    weights + step.weight, taps * in.channels, taps, 1,
                    step.bias < 0 ? nullptr : weights + step.bias, bool(step.added)};
        if (direct) one_row(s);
        sum(s, step, by_channel);
    }

    static void one_row(Sum<V> &s) { // all pixels of a channel, where no tap reads a neighbour
        s.width = s.out_width = s.out_height * s.out_width;
        s.height = s.out_height = 1;
    }

    // The gradient in the input is the convolution, in steps of 1, of the spread gradient with the taps in reverse.
    void convolution_back(const NetworkStep &step, bool by_channel) {
        const NetworkValue &in = value(step.input), &out = value(step.output);
        const int taps = step.kernel[0] * step.kernel[1];
        int side[2];
        for (int i = 0; i < 2; ++i) side[i] = (step.kernel[i] - 1) * step.dilation - step.padding[i];
        const bool direct = taps == 1 && step.stride[0] * step.stride[1] == 1, fresh = in.passing && !step.rectified;
        if (!direct)
            lay(slopes_of(step.output), out.channels, out.height, out.width, side[1], false, step.stride, in.width);
        Sum<V> s = {direct ? slopes_of(step.output) : rows.data, out.channels, (out.height - 1) * step.stride[0] + 1,
                    in.width, side[1], fresh ? slopes_of(step.input) : found.data, in.channels, in.height, in.width,
                    {step.kernel[0], step.kernel[1]}, {1, 1}, side[0], step.dilation,
                    weights + step.weight + taps - 1, taps, taps * in.channels, -1, nullptr, false};
        if (direct) one_row(s);
        if (by_channel) s.weight = weights + step.weight + taps - 1;
        sum(s, step, by_channel);
        if (fresh) return;
        const float *x = values(step.input);
        float *slope = slopes_of(step.input);
        pixels(in, [&](int, size_t p) {
            const Vector<V> more = at<V>(found.data + p * V);
            at<V>(slope + p * V) += step.rectified ? pass<V>(more, at<V>(x + p * V)) : more;
        });
    }

    // body(place in the input of each pixel of a window, its number of pixels), of each pixel of the output
    template <typename Body> void windows(const NetworkStep &step, Body body) {
        const NetworkValue &in = value(step.input), &out = value(step.output);
        for (int c = 0; c < out.channels; ++c)
            for (int row = 0; row < out.height; ++row)
                for (int column = 0; column < out.width; ++column) {
                    int first[2] = {row * step.stride[0] - step.padding[0], column * step.stride[1] - step.padding[1]};
                    int end[2] = {first[0] + step.kernel[0], first[1] + step.kernel[1]}, size[2] = {in.height, in.width};
                    for (int i = 0; i < 2; ++i) {
                        if (first[i] < 0) first[i] = 0;
                        if (end[i] > size[i]) end[i] = size[i];
                    }
                    const size_t place = (size_t(c) * out.height + row) * out.width + column;
                    body(place * V, (end[0] - first[0]) * (end[1] - first[1]), [&](auto visit) {
                        for (int y = first[0]; y < end[0]; ++y)
                            for (int x = first[1]; x < end[1]; ++x)
                                visit(((size_t(c) * in.height + y) * in.width + x) * V);
                    });
                }
    }

    void pool(const NetworkStep &step, bool of_largest) {
        const float *x = values(step.input);
        float *result = values(step.output);
        windows(step, [&](size_t place, int count, auto each) {
            Vector<V> total = {};
            if (of_largest) {
                total = all<V>(-__builtin_inff());
                each([&](size_t p) { total = at<V>(x + p) <= total ? total : at<V>(x + p); });
            } else {
                each([&](size_t p) { total += step.rectified ? rectify<V>(at<V>(x + p)) : at<V>(x + p); });
                total /= float(count);
            }
            at<V>(result + place) = step.added ? at<V>(result + place) + total : total;
        });
    }

    void pool_back(const NetworkStep &step, bool of_largest) {
        const float *x = values(step.input), *slope = slopes_of(step.output);
        float *result = slopes_of(step.input);
        windows(step, [&](size_t place, int count, auto each) {
            Vector<V> left = at<V>(slope + place), largest = all<V>(-__builtin_inff());
            if (!of_largest) {
                left /= float(count);
                each([&](size_t p) { at<V>(result + p) += step.rectified ? pass<V>(left, at<V>(x + p)) : left; });
                return;
            }
            each([&](size_t p) { largest = at<V>(x + p) <= largest ? largest : at<V>(x + p); });
            each([&](size_t p) { // to the first of several that are as large
                const auto here = at<V>(x + p) == largest;
                at<V>(result + p) += here ? left : Vector<V>{};
                left = here ? Vector<V>{} : left;
            });
        });
    }

    // Every second pixel, of even or odd rows and columns; zeros beyond the border. body(pixel, the input's or null)
    template <typename Body> void every_second(const NetworkStep &step, Body body) {
        const NetworkValue &in = value(step.input), &out = value(step.output);
        for (int c = 0; c < out.channels; ++c)
            for (int row = 0; row < out.height; ++row)
                for (int column = 0; column < out.width; ++column) {
                    const int y = 2 * row + step.padding[0], x = 2 * column + step.padding[1];
                    const size_t p = (size_t(c) * in.height + y) * in.width + x;
                    body(((size_t(c) * out.height + row) * out.width + column) * V, p * V, y < in.height && x < in.width);
                }
    }

    void forward(const NetworkStep &step) {
        if (step.kind == DENSE || step.kind == DEPTHWISE) return convolution(step, step.kind == DEPTHWISE);
        if (step.kind == MAX_POOL || step.kind == AVERAGE_POOL) return pool(step, step.kind == MAX_POOL);
        const float *x = step.kind == ZERO ? nullptr : values(step.input);
        float *result = values(step.output);
        if (step.kind == EVERY_SECOND)
            return every_second(step, [&](size_t place, size_t from, bool is_inside) {
                at<V>(result + place) = !is_inside ? Vector<V>{} : step.rectified ? rectify<V>(at<V>(x + from)) : at<V>(x + from);
            });
        pixels(value(step.output), [&](int c, size_t p) {
            Vector<V> next = {};
            if (x) next = at<V>(x + p * V);
            if (step.kind == SCALE) next = next * all<V>(weights[step.weight + c]) + all<V>(weights[step.bias + c]);
            at<V>(result + p * V) = step.added ? at<V>(result + p * V) + next : next;
        });
    }

    void backward(const NetworkStep &step) {
        if (step.kind == ZERO) return;
        if (step.kind == DENSE || step.kind == DEPTHWISE) return convolution_back(step, step.kind == DEPTHWISE);
        if (step.kind == MAX_POOL || step.kind == AVERAGE_POOL) return pool_back(step, step.kind == MAX_POOL);
        const float *x = values(step.input), *slope = slopes_of(step.output);
        float *result = slopes_of(step.input);
        if (step.kind == EVERY_SECOND)
            return every_second(step, [&](size_t place, size_t to, bool is_inside) {
                if (is_inside) at<V>(result + to) += step.rectified ? pass<V>(at<V>(slope + place), at<V>(x + to)) : at<V>(slope + place);
            });
        pixels(value(step.output), [&](int c, size_t p) {
            const Vector<V> more = at<V>(slope + p * V);
            at<V>(result + p * V) += step.kind == SCALE ? more * all<V>(weights[step.weight + c]) : more;
        });
    }
};

// [images of this group][networks][size], of one network <-> [size][V]
template <int V> static void into_lanes(const float *images, int count, size_t size, int networks, float *lanes) {
    for (size_t i = 0; i < size; ++i)
        for (int v = 0; v < V; ++v) lanes[i * V + v] = v < count ? images[v * networks * size + i] : 0.0f;
}

template <int V> static void out_of_lanes(const float *lanes, int count, size_t size, int networks, float *images) {
    for (int v = 0; v < count; ++v)
        for (size_t i = 0; i < size; ++i) images[v * networks * size + i] = lanes[i * V + v];
}

static size_t size_of(const NetworkValue &value) { return size_t(value.channels) * value.height * value.width; }

static int run_network(const FixedNetwork &of, const float *images, const float *slopes, float *kept, float *result) {
    constexpr int V = IMAGES;
    const int groups = (of.batch + V - 1) / V;
    const size_t of_image = size_of(of.values[0]), of_logits = size_of(of.values[of.logits]);
#pragma omp parallel num_threads(of.threads)
    {
        ThroughNetwork<V> lanes(of, slopes);
        Room own(kept ? 1 : of.kept * V);
#pragma omp for schedule(static)
        for (int job = 0; job < of.networks * groups; ++job) {
            const int network = job / groups, first = job % groups * V;
            const int count = of.batch - first < V ? of.batch - first : V;
            const size_t place = size_t(first) * of.networks + network; // of the first image of this network
            lanes.kept = kept ? kept + size_t(job) * of.kept * V : own.data;
            lanes.weights = of.weights + network * of.of_network;
            if (slopes) {
                std::memset(lanes.slopes.data, 0, of.kept * V * sizeof(float));
                into_lanes<V>(slopes + place * of_logits, count, of_logits, of.networks, lanes.slopes_of(of.logits));
                for (int i = of.count - 1; i >= 0; --i) lanes.backward(of.steps[i]);
                out_of_lanes<V>(lanes.slopes_of(0), count, of_image, of.networks, result + place * of_image);
            } else {
                into_lanes<V>(images + place * of_image, count, of_image, of.networks, lanes.values(0));
                for (int i = 0; i < of.count; ++i) lanes.forward(of.steps[i]);
                out_of_lanes<V>(lanes.values(of.logits), count, of_logits, of.networks, result + place * of_logits);
            }
        }
    }
    return groups;
}
