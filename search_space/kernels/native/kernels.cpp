// Separable operations of all edges that enter a node, for float32 images in channels_last on the CPU, weights fixed.
//
// A node reads `groups` states of C channels each, after ReLU, by one edge each. An operation is depthwise convolution,
// pointwise convolution, batch norm, and for two stages ReLU and the three again. A pointwise convolution and the batch
// norm after it are one product with a folded weight, which Python finds from moments of what the convolution reads:
// sum over pixels of features^T features [C][C], then of features [C], of each edge. Features are [groups, batch,
// height, width, C]. The passes in turn:
//
//   0  first_forward    first = depthwise(state) and its moments, of all operations
//   1  second_forward   second = depthwise(ReLU(first @ hidden_weight + hidden_bias)) and its moments, of one operation
//   2  mix              sum over operations and edges of features @ mixing_weight, and a bias
//   3  mix_backward     mixing_moments: products of the features with the gradient of that sum
//   4  second_backward  the gradient before the second depthwise convolution, and its products with `first`
//   5  first_backward   the gradients in the states, summed over operations
//
// depthwise_weight, by itself, is the gradient of any depthwise convolution in its weight; batch_norm is one by itself.
//
// A pass works on one image and edge at a time, so what lies between its steps stays in the core's cache.

extern "C" {
struct State {
    const float *values; // [batch, height, width, C]
    float *slope;        // null: not wanted
    int height, width, stride;
};

struct FoldSlopes { // the gradient in features: slope @ transposed + features @ matrix + offset
    const float *slope; // [batch, pixels, C], or by group as the features are
    int slope_by_group;
    const float *transposed, *matrix, *offset; // [groups, C, C], [groups, C, C], [groups, C]
};

struct Operation {
    int kernel, dilation;
    const float *first_weight; // [kernel * kernel, groups * C]
    float *first;
    double *first_moments;
    const float *hidden_weight, *hidden_bias; // [groups, C, C], [groups, C]; these and the next three: two stages only
    const float *second_weight;
    float *second;
    double *second_moments;
    const float *mixing_weight; // [groups, C, C]
    double *mixing_moments;
    FoldSlopes of_first, of_second;
    float *hidden_slope;
    double *hidden_moments;
};

struct Node {
    int batch, height, width, C, groups, border, threads; // border: largest reach of a kernel, in pixels
    const float *bias;                                    // [C], of `mix`
};

struct Convolution { // depthwise; height and width of its images and of what it gives
    int batch, height, width, channels, out_height, out_width, kernel, stride, dilation, threads;
};

struct GroupedConvolution { // of padding kernel / 2 and dilation 1; channels: of one group
    int batch, height, width, in_channels, out_channels, groups, kernel, stride, threads;
    int channel_step, tap_step; // between neighbouring input channels of a weight, and between its pixels
    int out_height() const { return (height - 1) / stride + 1; }
    int out_width() const { return (width - 1) / stride + 1; }
};

enum StepKind { SCALE, DENSE, DEPTHWISE, MAX_POOL, AVERAGE_POOL, EVERY_SECOND, ADD, ZERO };

struct NetworkValue { // [channels, height, width] of each image
    long place;       // of its first pixel, among those that are kept or those that pass
    int channels, height, width;
    int passing; // read by the next step alone, and then written over
};

struct NetworkStep {
    int kind, rectified, added; // the input goes through ReLU first; the output is added to what is there
    int input, output;          // indices of values
    int kernel[2], stride[2], padding[2], dilation;
    long weight, bias; // places in the weights; -1: none
};

struct FixedNetwork {
    const NetworkValue *values; // the first is the images
    const NetworkStep *steps;
    const float *weights;              // [networks][of_network]
    int count, logits, batch, threads; // steps, the index of the logits, and images
    int networks;                      // of one kind, side by side, each with images and logits of its own
    long of_network;
    long kept, passing, rows, found;   // floats of an image: of the values, and of what the passes lay out on their way
};
}

#define KERNELS "search_space/kernels/native/kernels.inl"
#include "compiled/dispatch.h"

extern "C" void node_pass(const Node *node, int pass, const State *states, int operations, const Operation *of,
                          float *values) {
    DISPATCH(run(*node, pass, states, operations, of, values));
}

// images [batch, height, width, channels] and slope [batch, out_height, out_width, channels] -> total [taps, channels]
extern "C" void depthwise_weight(const Convolution *of, const float *images, const float *slope, double *total) {
    DISPATCH(run_weight(*of, images, slope, total));
}

// images [batch, height, width, groups * in_channels] -> out [batch, out_height, out_width, groups * out_channels]; back:
// slopes of that form -> out, the gradient in the images. weight: [groups * out_channels, in_channels, kernel, kernel]
extern "C" void grouped_convolution(const GroupedConvolution *of, int back, const float *x, const float *weight,
                                    float *out) {
    DISPATCH(run_convolution(*of, back, x, weight, out));
}

// images and slope, as above -> out, the gradient in the weight
extern "C" void grouped_convolution_weight(const GroupedConvolution *of, const float *images, const float *slope,
                                           float *out) {
    DISPATCH(run_convolution_weight(*of, images, slope, out));
}

// x [batch, height, width, channels] -> out, its averages over 3x3 pixels; back: the gradient in x, from that in them
extern "C" void average_pool(const float *x, int batch, int height, int width, int channels, int threads, int back,
                             float *out) {
    DISPATCH(run_average_pool(x, batch, height, width, channels, threads, back, out));
}

// left, right [rows, channels] -> total [2, channels]: sums over rows of right, and of left * right
extern "C" void column_sums(const float *left, const float *right, long rows, int channels, int threads,
                            double *total) {
    DISPATCH(run_sums(left, right, rows, channels, threads, total));
}

// x [rows, channels] -> out, of mean 0 and variance 1 in each channel; kept [2, channels]: mean and 1 / deviation
extern "C" void batch_norm(const float *x, long rows, int channels, int threads, double eps, double *kept, float *out) {
    DISPATCH(run_batch_norm(x, rows, channels, threads, eps, kept, out));
}

// slope, in what batch_norm gave of x -> out, the gradient in x
extern "C" void batch_norm_backward(const float *x, const float *slope, long rows, int channels, int threads,
                                    const double *kept, float *out) {
    DISPATCH(run_batch_norm_backward(x, slope, rows, channels, threads, kept, out));
}

// images [batch, networks, ...] -> logits [batch, networks, classes]. kept: null, or room for what the way back needs,
// [networks, groups, of.kept, images of a group]. Returns the number of groups.
extern "C" int network_forward(const FixedNetwork *of, const float *images, float *kept, float *logits) {
    DISPATCH(run_network(*of, images, nullptr, kept, logits));
}

// slopes in the logits, and what forward kept -> gradient in the images
extern "C" int network_backward(const FixedNetwork *of, const float *slopes, float *kept, float *gradient) {
    DISPATCH(run_network(*of, nullptr, slopes, kept, gradient));
}

// Images that lie side by side in a group.
extern "C" int network_lanes() { DISPATCH(IMAGES); }
