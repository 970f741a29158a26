// Both passes of a learned optimizer over the elements of all its tensors, for float32 on the CPU.
//
// The inputs of an element's network are gradient, parameter and momenta, and where there are running squares too:
// clipped gradient, parameter, log|parameter|, momenta, momenta / root, squares, 1 / root, with root^2 = square +
// smallest. The passes:
//
//   accumulate  new momenta and squares in their place; sums over each tensor of the squared inputs and, where there
//               are running squares, of the squared raw gradient and of the inputs before 1 / root
//   step        params -= rate * direction_scale * direction * exp(magnitude_scale * magnitude), where (direction,
//               magnitude) = output^T b + bias, b = max(second^T a, second_floor), a = max(first^T x + start,
//               first_floor), x = scale * inputs; sums of b over each tensor where they are asked for
//
// A step computes a tile of elements at a time, elements in the lanes, so that layers stay in registers and the
// innermost cache. Sums are in float over a block and in double beyond, piece after piece: no number of threads changes
// a bit.

#include <cstdint>

extern "C" {
struct Tensors { // `count` of them
    const float *const *gradients; // [elements] of each
    float *const *params, *const *momenta, *const *squares; // [elements]; [decays, elements]; these, or null
    const float *limits;  // [count], of gradients; null: they are not clipped
    const int64_t *sizes; // [count]
    const float *shares;  // [decays], 1 - decay
    int count, decays, threads;
    int64_t piece; // elements of a tensor that a thread takes at once
    float smallest;
};

struct Network { // weights are [inputs, outputs]
    const float *scale, *start, *rate; // of each tensor: [count, inputs]; [count, HIDDEN], null for 0; [count]
    const float *first, *first_floor, *second, *second_floor, *output, *bias;
    float direction_scale, magnitude_scale;
};

struct General { // the network of the architecture of that name; weights are [inputs, outputs]
    const float *figures, *rate; // of each tensor: [count, 11], as `Figures` in general.inl has them; [count]
    const float *first, *first_bias, *second, *second_bias, *output;
    float *const *directions; // [elements] of each
};
}

constexpr int HIDDEN = 32, MOST_INPUTS = 32; // of all architectures

#define KERNELS "learned_optimizers/native/kernels.inl"
#include "compiled/dispatch.h"

// sums: [count, columns], zeros before
extern "C" void accumulate_pass(const Tensors *of, int columns, double *sums) {
    DISPATCH(accumulate(*of, columns, sums));
}

// sums: [count, HIDDEN], zeros before; null: not wanted
extern "C" void step_pass(const Tensors *of, const Network *network, double *sums) {
    DISPATCH(step(*of, *network, sums));
}

// Those of `general`: as accumulate_pass, sums [count, 9]; directions and the sums of their squares, [count, 1], which
// say how long they are; params -= rate * direction.
extern "C" void general_accumulate_pass(const Tensors *of, double *sums) { DISPATCH(accumulate_general(*of, sums)); }
extern "C" void general_direction_pass(const Tensors *of, const General *network, double *sums) {
    DISPATCH(direct_general(*of, *network, sums));
}
extern "C" void general_move_pass(const Tensors *of, const General *network) { DISPATCH(move_general(*of, *network)); }
