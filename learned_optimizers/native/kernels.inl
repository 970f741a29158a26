// The passes of kernels.cpp. Included once for each instruction set, each time in a namespace of its own.

#include "compiled/vectors.inl"

// Lanes of a vector; vectors of elements in a tile, and outputs of a layer, that are summed together in registers.
constexpr int V = LANES, TILE = LANES == 4 ? 2 : 3, OUTPUTS = LANES == 16 ? 8 : 4;
constexpr int BLOCK = 768; // elements that are summed in single precision; whole tiles

typedef Vector<V> Floats;
typedef int Integers __attribute__((vector_size(V * sizeof(int))));
typedef std::integral_constant<int, V> Whole;

// Calls body(first, lanes) for all elements: V at a time, as a constant, and what is left.
template <typename Body> static inline void each(int count, Body body) {
    int first = 0;
    for (; first + V <= count; first += V) body(first, Whole());
    if (first < count) body(first, count - first);
}

static inline Floats load(const float *p, Whole) { return at<V>(p); }
static inline Floats load(const float *p, int lanes) {
    Floats value = {};
    std::memcpy(&value, p, lanes * sizeof(float));
    return value;
}
static inline void store(float *p, Floats value, Whole) { at<V>(p) = value; }
static inline void store(float *p, Floats value, int lanes) { std::memcpy(p, &value, lanes * sizeof(float)); }
static inline Floats only(Floats value, Whole) { return value; }
static inline Floats only(Floats value, int lanes) { return load(reinterpret_cast<const float *>(&value), lanes); }

// The value itself where it is not a number, so that it is seen.
static inline Floats at_least(Floats value, Floats least) { return least > value ? least : value; }
static inline Floats at_most(Floats value, Floats most) { return most < value ? most : value; }

// The three functions below are exact to 1.3 units in the last place, the largest found at a million arguments each.
// Polynomials of Cephes (Moshier 1989), highest power first: (e^r - 1 - r) / r^2 and (log(1 + r) - r + r^2 / 2) / r^3.
constexpr float EXPONENTIAL[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
constexpr float LOGARITHM[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                               -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                               2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};

// e^x: 2^n e^r with |r| <= log(2) / 2.
static inline Floats exponential(Floats x) {
    x = at_most(at_least(x, all<V>(-104.0f)), all<V>(89.0f)); // beyond these it is 0 or infinite
    const Floats shift = all<V>(12582912.0f);                 // 1.5 * 2^23: adding it rounds to an integer
    const Floats shifted = x * 1.44269504088896341f + shift, n = shifted - shift;
    const Floats r = x - n * 0.693359375f - n * -2.12194440e-4f;
    Floats sum = {};
    for (float next : EXPONENTIAL) sum = sum * r + next;
    const Integers power = (Integers)shifted - (Integers)shift, half = power >> 1; // 2^n may be no float; these are
    return (sum * r * r + r + 1.0f) * (Floats)((half + 127) << 23) * (Floats)((power - half + 127) << 23);
}

// log(x) of x from the smallest normal number on: x = 2^n (1 + r).
static inline Floats logarithm(Floats x) {
    const Floats mantissa = (Floats)(((Integers)x & 0x007fffff) | 0x3f000000);
    const Integers low = mantissa < 0.707106781186547524f; // -1 where it is
    const Floats r = (low ? mantissa + mantissa : mantissa) - 1.0f;
    const Floats n = __builtin_convertvector(((Integers)x >> 23) - 126 + low, Floats);
    Floats sum = {};
    for (float next : LOGARITHM) sum = sum * r + next;
    const Floats square = r * r;
    return r + (sum * r * square - n * 2.12194440e-4f - square * 0.5f) + n * 0.693359375f;
}

// 1 / sqrt(x) of normal x > 0: a guess from its exponent, and three steps of Newton's method.
static inline Floats reciprocal_root(Floats x) {
    const Floats half = x * 0.5f;
    Floats y = (Floats)(0x5f3759df - ((Integers)x >> 1));
    for (int step = 0; step < 3; ++step) y += y * (0.5f - half * y * y);
    return y;
}

// (1 - share) * mean + share * value, in the form whose rounding is smaller.
static inline Floats running(Floats mean, Floats value, float share) {
    return share < 0.5f ? mean + (value - mean) * share : value - (value - mean) * (1.0f - share);
}

static inline Floats log_abs(Floats value, float smallest) { return logarithm(at_least(value, -value) + smallest); }

static inline void add_lanes(Floats sum, double &total) {
    for (int lane = 0; lane < V; ++lane) total += sum[lane];
}

// Elements of one tensor.
struct Part {
    int tensor;
    int64_t first;
    int count;
};

// Calls body(part, totals [columns]) for blocks of all tensors; adds each tensor's totals to sums [count, columns].
template <typename Body> static void over_blocks(const Tensors &of, int columns, double *sums, Body body) {
    size_t pieces = 0;
    for (int k = 0; k < of.count; ++k) pieces += (of.sizes[k] + of.piece - 1) / of.piece;
    Buffer<int> owners(pieces);
    Buffer<int64_t> starts(pieces);
    Buffer<double> totals(pieces * columns + 1);
    size_t next = 0;
    for (int k = 0; k < of.count; ++k)
        for (int64_t first = 0; first < of.sizes[k]; first += of.piece, ++next)
            owners.data[next] = k, starts.data[next] = first;
#pragma omp parallel for num_threads(of.threads) schedule(dynamic) if (pieces > 1)
    for (size_t i = 0; i < pieces; ++i) {
        const int k = owners.data[i];
        const int64_t left = of.sizes[k] - starts.data[i], end = starts.data[i] + (left < of.piece ? left : of.piece);
        for (int64_t first = starts.data[i]; first < end; first += BLOCK)
            body(Part{k, first, int(end - first < BLOCK ? end - first : BLOCK)}, totals.data + i * columns);
    }
    for (size_t i = 0; i < pieces; ++i)
        for (int c = 0; c < columns; ++c) sums[size_t(owners.data[i]) * columns + c] += totals.data[i * columns + c];
}

static inline Floats clipped(Floats gradient, const Tensors &of, int k) {
    return of.limits ? at_most(at_least(gradient, all<V>(-of.limits[k])), all<V>(of.limits[k])) : gradient;
}

// Gradient and parameter: total[c] += sum of squares.
static void accumulate_plain(const Tensors &of, Part part, double *total) {
    const float *gradients = of.gradients[part.tensor] + part.first, *params = of.params[part.tensor] + part.first;
    Floats sums[2] = {};
    each(part.count, [&](int i, auto lanes) {
        const Floats g = clipped(load(gradients + i, lanes), of, part.tensor), p = load(params + i, lanes);
        sums[0] += g * g;
        sums[1] += p * p;
    });
    for (int c = 0; c < 2; ++c) add_lanes(sums[c], total[c]);
}

// One decay's momenta: their sum of squares.
static void accumulate_momenta(const Tensors &of, Part part, int decay, double *total) {
    const float *gradients = of.gradients[part.tensor] + part.first, share = of.shares[decay];
    float *momenta = of.momenta[part.tensor] + decay * of.sizes[part.tensor] + part.first;
    Floats sum = {};
    each(part.count, [&](int i, auto lanes) {
        const Floats g = clipped(load(gradients + i, lanes), of, part.tensor);
        const Floats m = running(load(momenta + i, lanes), g, share);
        store(momenta + i, m, lanes);
        sum += m * m;
    });
    add_lanes(sum, total[0]);
}

// One decay's momenta and squares: of momentum, momentum / root, square and 1 / root, the squares' sums to
// total[0], [decays], [2 decays] and [3 decays]; of the first three, the sums to plain[0], [decays] and [2 decays].
static void accumulate_moments(const Tensors &of, Part part, int decay, double *total, double *plain) {
    const float *gradients = of.gradients[part.tensor] + part.first, share = of.shares[decay];
    const int64_t from = decay * of.sizes[part.tensor] + part.first;
    float *momenta = of.momenta[part.tensor] + from, *squares = of.squares[part.tensor] + from;
    Floats of_squares[4] = {}, of_values[3] = {};
    each(part.count, [&](int i, auto lanes) {
        const Floats g = clipped(load(gradients + i, lanes), of, part.tensor);
        const Floats m = running(load(momenta + i, lanes), g, share);
        const Floats v = running(load(squares + i, lanes), g * g, share);
        store(momenta + i, m, lanes);
        store(squares + i, v, lanes);
        const Floats root = only(reciprocal_root(v + of.smallest), lanes), rated = m * root;
        const Floats values[4] = {m, rated, v, root};
        for (int c = 0; c < 4; ++c) of_squares[c] += values[c] * values[c];
        for (int c = 0; c < 3; ++c) of_values[c] += values[c];
    });
    for (int c = 0; c < 4; ++c) add_lanes(of_squares[c], total[c * of.decays]);
    for (int c = 0; c < 3; ++c) add_lanes(of_values[c], plain[c * of.decays]);
}

// What only they see who have running squares: the logarithm's sum of squares, and the raw gradient's; sums of
// gradient, parameter and logarithm.
static void accumulate_logarithm(const Tensors &of, Part part, double &total, double &raw, double *plain) {
    const float *gradients = of.gradients[part.tensor] + part.first, *params = of.params[part.tensor] + part.first;
    Floats of_squares[2] = {}, of_values[3] = {};
    each(part.count, [&](int i, auto lanes) {
        const Floats g = load(gradients + i, lanes), p = load(params + i, lanes);
        const Floats values[3] = {clipped(g, of, part.tensor), p, only(log_abs(p, of.smallest), lanes)};
        of_squares[0] += values[2] * values[2];
        of_squares[1] += g * g;
        for (int c = 0; c < 3; ++c) of_values[c] += values[c];
    });
    add_lanes(of_squares[0], total);
    add_lanes(of_squares[1], raw);
    for (int c = 0; c < 3; ++c) add_lanes(of_values[c], plain[c]);
}

static void accumulate(const Tensors &of, int columns, double *sums) {
    over_blocks(of, columns, sums, [&](Part part, double *total) {
        accumulate_plain(of, part, total);
        if (!of.squares) {
            for (int d = 0; d < of.decays; ++d) accumulate_momenta(of, part, d, total + 2 + d);
            return;
        }
        double *raw = total + 3 + 4 * of.decays, *plain = raw + 1;
        accumulate_logarithm(of, part, total[2], *raw, plain);
        for (int d = 0; d < of.decays; ++d) accumulate_moments(of, part, d, total + 3 + d, plain + 3 + d);
    });
}

// Scaled inputs [inputs][N][V] of N vectors of elements; N is 1 where not all lanes are in use.
template <int N, typename Lanes>
static inline void inputs(const Tensors &of, Part part, const float *scale, Lanes lanes, float *x) {
    const float *gradients = of.gradients[part.tensor] + part.first, *params = of.params[part.tensor] + part.first;
    const int64_t size = of.sizes[part.tensor];
    const float *momenta = of.momenta[part.tensor] + part.first;
    const float *squares = of.squares ? of.squares[part.tensor] + part.first : nullptr;
    const int decays = of.decays, plain = squares ? 3 : 2;
    for (int n = 0; n < N; ++n) {
        const auto put = [&](int c, Floats value) { at<V>(x + (c * N + n) * V) = value * scale[c]; };
        const Floats p = load(params + n * V, lanes);
        put(0, clipped(load(gradients + n * V, lanes), of, part.tensor));
        put(1, p);
        if (squares) put(2, log_abs(p, of.smallest));
        for (int d = 0; d < decays; ++d) {
            const Floats m = load(momenta + d * size + n * V, lanes);
            put(plain + d, m);
            if (!squares) continue;
            const Floats v = load(squares + d * size + n * V, lanes), root = reciprocal_root(v + of.smallest);
            put(plain + decays + d, m * root);
            put(plain + 2 * decays + d, v);
            put(plain + 3 * decays + d, root);
        }
    }
}

// out[j] = max(start[j] + sum over i of weight[i][j] * x[i], floor[j]) for N vectors of elements. start: null for 0.
template <int N, int UNITS>
static inline void layer(const float *x, int inputs, const float *weight, const float *start, const float *floor,
                         float *out) {
    for (int j = 0; j < UNITS; j += OUTPUTS) {
        Floats sum[OUTPUTS][N];
        for (int o = 0; o < OUTPUTS; ++o)
            for (int n = 0; n < N; ++n) sum[o][n] = start ? all<V>(start[j + o]) : Floats{};
        for (int i = 0; i < inputs; ++i)
            for (int o = 0; o < OUTPUTS; ++o)
                for (int n = 0; n < N; ++n) sum[o][n] += at<V>(x + (i * N + n) * V) * weight[i * UNITS + j + o];
        for (int o = 0; o < OUTPUTS; ++o)
            for (int n = 0; n < N; ++n)
                at<V>(out + ((j + o) * N + n) * V) = at_least(sum[o][n], all<V>(floor[j + o]));
    }
}

// N vectors of elements. sums: of the second layer, [HIDDEN]; null: not wanted.
template <int N, typename Lanes>
static inline void step_tile(const Tensors &of, const Network &network, Part part, Lanes lanes, Floats *sums) {
    alignas(64) float x[MOST_INPUTS * N * V], a[HIDDEN * N * V], b[HIDDEN * N * V];
    const int k = part.tensor, size = of.squares ? 3 + 4 * of.decays : 2 + of.decays;
    inputs<N>(of, part, network.scale + size_t(k) * size, lanes, x);
    const float *start = network.start ? network.start + size_t(k) * HIDDEN : nullptr;
    layer<N, HIDDEN>(x, size, network.first, start, network.first_floor, a);
    layer<N, HIDDEN>(a, HIDDEN, network.second, nullptr, network.second_floor, b);
    Floats direction[N], magnitude[N];
    for (int n = 0; n < N; ++n) direction[n] = all<V>(network.bias[0]), magnitude[n] = all<V>(network.bias[1]);
    for (int j = 0; j < HIDDEN; ++j)
        for (int n = 0; n < N; ++n) {
            const Floats value = at<V>(b + (j * N + n) * V);
            direction[n] += value * network.output[2 * j];
            magnitude[n] += value * network.output[2 * j + 1];
            if (sums) sums[j] += only(value, lanes);
        }
    for (int n = 0; n < N; ++n) {
        float *p = of.params[k] + part.first + n * V;
        const Floats factor = exponential(magnitude[n] * network.magnitude_scale);
        const Floats moved = direction[n] * network.direction_scale * factor;
        store(p, load(p, lanes) - moved * network.rate[k], lanes);
    }
}

static void step(const Tensors &of, const Network &network, double *sums) {
    over_blocks(of, sums ? HIDDEN : 0, sums, [&](Part part, double *total) {
        alignas(64) Floats block[HIDDEN] = {};
        Floats *wanted = sums ? block : nullptr;
        int done = 0;
        for (; done + TILE * V <= part.count; done += TILE * V)
            step_tile<TILE>(of, network, Part{part.tensor, part.first + done, 0}, Whole(), wanted);
        each(part.count - done, [&](int i, auto lanes) {
            step_tile<1>(of, network, Part{part.tensor, part.first + done + i, 0}, lanes, wanted);
        });
        for (int j = 0; sums && j < HIDDEN; ++j) add_lanes(block[j], total[j]);
    });
}

#include "learned_optimizers/native/general.inl"
