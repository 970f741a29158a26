// The passes of `general`, after those of kernels.inl, whose helpers they share.

constexpr int MOMENTA = 3, SQUARES = 2, FEATURES = 7, WIDTH = 16, SAID = 3;

// Figures of a tensor, in the order of SPREAD in architectures/general.py.
struct Figures {
    float momenta[MOMENTA], squares[SQUARES], floor, gradient_scale, param_scale, said[SAID];
};

// New momenta and squares; to total, sums of the squares of gradient, parameter and momenta, of the running squares, of
// the gradient times the middle momentum before it, and of the product of the slower two momenta.
static void accumulate_general(const Tensors &of, Part part, double *total) {
    const int k = part.tensor;
    const int64_t size = of.sizes[k];
    const float *gradients = of.gradients[k] + part.first, *params = of.params[k] + part.first;
    float *momenta = of.momenta[k] + part.first, *squares = of.squares[k] + part.first;
    Floats sums[4 + MOMENTA + SQUARES] = {};
    each(part.count, [&](int i, auto lanes) {
        const Floats g = load(gradients + i, lanes), p = load(params + i, lanes);
        Floats m[MOMENTA];
        sums[0] += g * g;
        sums[1] += p * p;
        sums[2 + MOMENTA + SQUARES] += g * load(momenta + size + i, lanes);
        for (int d = 0; d < MOMENTA; ++d) {
            m[d] = running(load(momenta + d * size + i, lanes), g, of.shares[d]);
            store(momenta + d * size + i, m[d], lanes);
            sums[2 + d] += m[d] * m[d];
        }
        for (int d = 0; d < SQUARES; ++d) {
            const Floats v = running(load(squares + d * size + i, lanes), g * g, of.shares[MOMENTA + d]);
            store(squares + d * size + i, v, lanes);
            sums[2 + MOMENTA + d] += v;
        }
        sums[3 + MOMENTA + SQUARES] += m[1] * m[2];
    });
    for (int c = 0; c < 4 + MOMENTA + SQUARES; ++c) add_lanes(sums[c], total[c]);
}

static inline Floats size_of(Floats value) { return at_least(value, -value); }
static inline Floats squashed(Floats value) { return value / (size_of(value) + 1.0f); }
static inline Floats hyperbolic_tangent(Floats x) { return 1.0f - 2.0f / (exponential(x + x) + 1.0f); }

// What the elements' network reads, [FEATURES][N][V], and the three ratios that it makes steps of.
template <int N, typename Lanes>
static inline void general_inputs(const Tensors &of, Part part, const Figures &figures, Lanes lanes, float *x,
                                  Floats (*ratios)[N]) {
    const int k = part.tensor;
    const int64_t size = of.sizes[k];
    const float *gradients = of.gradients[k] + part.first, *params = of.params[k] + part.first;
    const float *momenta = of.momenta[k] + part.first, *squares = of.squares[k] + part.first;
    const Floats most = all<V>(10.0f);
    for (int n = 0; n < N; ++n) {
        const auto put = [&](int c, Floats value) { at<V>(x + (c * N + n) * V) = value; };
        Floats square = all<V>(figures.floor);
        for (int d = 0; d < SQUARES; ++d) square += load(squares + d * size + n * V, lanes) * figures.squares[d];
        const Floats over = reciprocal_root(square);
        ratios[0][n] = load(gradients + n * V, lanes) * over;
        for (int d = 1; d < MOMENTA; ++d)
            ratios[d][n] = load(momenta + d * size + n * V, lanes) * figures.momenta[d] * over;
        for (int d = 0; d < 3; ++d) {
            ratios[d][n] = at_most(at_least(ratios[d][n], -most), most);
            put(d, squashed(size_of(ratios[d][n])));
        }
        put(3, squashed(size_of(load(params + n * V, lanes) * figures.param_scale)));
        put(4, squashed(ratios[0][n] * ratios[1][n]));
        put(5, squashed(ratios[1][n] * ratios[2][n]));
        put(6, logarithm(square * over * figures.gradient_scale) * 0.5f);
    }
}

// Directions of N vectors of elements; their squares are added to sum.
template <int N, typename Lanes>
static inline void general_tile(const Tensors &of, const General &network, Part part, Lanes lanes, Floats &sum) {
    alignas(64) float x[FEATURES * N * V], a[WIDTH * N * V], b[WIDTH * N * V];
    const Figures &figures = reinterpret_cast<const Figures *>(network.figures)[part.tensor];
    const float floor[WIDTH] = {};
    Floats ratios[3][N], said[SAID][N];
    general_inputs<N>(of, part, figures, lanes, x, ratios);
    layer<N, WIDTH>(x, FEATURES, network.first, network.first_bias, floor, a);
    layer<N, WIDTH>(a, WIDTH, network.second, network.second_bias, floor, b);
    for (int o = 0; o < SAID; ++o)
        for (int n = 0; n < N; ++n) said[o][n] = all<V>(figures.said[o]);
    for (int j = 0; j < WIDTH; ++j)
        for (int o = 0; o < SAID; ++o)
            for (int n = 0; n < N; ++n) said[o][n] += at<V>(b + (j * N + n) * V) * network.output[SAID * j + o];
    for (int n = 0; n < N; ++n) {
        const Floats newest = ratios[0][n], middle = ratios[1][n], slowest = ratios[2][n];
        const Floats ahead = middle - (middle - newest) * 0.1f;
        Floats direction = ahead * exponential(hyperbolic_tangent(said[0][n]));
        direction += hyperbolic_tangent(said[1][n]) * newest * 0.5f;
        direction = only(direction + hyperbolic_tangent(said[2][n]) * slowest * 0.5f, lanes);
        store(network.directions[part.tensor] + part.first + n * V, direction, lanes);
        sum += direction * direction;
    }
}

static void accumulate_general(const Tensors &of, double *sums) {
    over_blocks(of, 4 + MOMENTA + SQUARES, sums, [&](Part part, double *total) { accumulate_general(of, part, total); });
}

static void direct_general(const Tensors &of, const General &network, double *sums) {
    over_blocks(of, 1, sums, [&](Part part, double *total) {
        Floats sum = {};
        int done = 0;
        for (; done + TILE * V <= part.count; done += TILE * V)
            general_tile<TILE>(of, network, Part{part.tensor, part.first + done, 0}, Whole(), sum);
        each(part.count - done, [&](int i, auto lanes) {
            general_tile<1>(of, network, Part{part.tensor, part.first + done + i, 0}, lanes, sum);
        });
        add_lanes(sum, *total);
    });
}

static void move_general(const Tensors &of, const General &network) {
    over_blocks(of, 0, nullptr, [&](Part part, double *) {
        const float *directions = network.directions[part.tensor] + part.first, rate = network.rate[part.tensor];
        float *params = of.params[part.tensor] + part.first;
        each(part.count, [&](int i, auto lanes) {
            store(params + i, load(params + i, lanes) - load(directions + i, lanes) * rate, lanes);
        });
    });
}
