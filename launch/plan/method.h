// The constants of the step model that belong to no part: how much of a measured ceiling a training
// step sustains, and what it adds. They are few, the same for every part, precision and source of
// rows, and round; docs/planning.md says how far the step moves when one of them does.
#pragma once

namespace leasehold {

struct StepMethod {
  // A product in a step against the fastest one of its part (hardware files): shapes are not the
  // best ones, operands come from memory, and clocks fall under the power of a whole step. From the
  // published rows; leaving any class of them out does not move it.
  double product_share = 0.85;
  // Lengthens K: a tile starts and ends at a cost. K / (K + 450) fits measured FP8 products of
  // 132 multiprocessors (deepseek-ai/DeepGEMM#81: K 512 801 TF, 2048 1185, 7168 1377, 16384 1500);
  // other parts and precisions scale with operations a second of a multiprocessor.
  double ramp_k = 450;
  double ramp_unit_flops = 1402.6e12 / 132;
  double ceiling_k = 8192;  // length at which the ceilings of hardware files were measured

  // Attention in a step against a kernel's benchmark at long sequences, and the sequence at which
  // it has half of it: blocks that the diagonal cuts, rotary positions and layouts are counted in.
  // From the published rows.
  double attention_share = 0.90;
  double attention_half_s = 500;

  // Memory-bound operations: share of the sheet's bandwidth, with the gaps between launches. From
  // the published rows, which give 0.57 to 0.65.
  double memory_share = 0.65;
  double launch_s = 20e-6;  // of a layer's forward that no queue hides

  // Tensor parallelism: share of each exchange that pipelining against the product does not hide.
  // With t tiles the first one is never hidden, and copies take multiprocessors (15% in Calculon,
  // SC 2023). From the published rows, which give 0.50 to 0.61.
  double tensor_exposed = 0.5;
  // Sharded weights: compute loses this share of the time of a gather or scatter next to it. It is
  // 1.3 times slower meanwhile (Galvatron, arXiv:2211.13878), and waits of the host come on top.
  // From the published rows, which give 0.52 without H100 and 0.85 at most; jobs of one domain wait
  // less.
  double sharded_exposed = 0.55;
  // Gradients and weights of the data ranks, once a step, over links that compute does not use.
  double data_exposed = 0.15;
  double context_exposed = 0.10;  // of the ring's time while attention computes
  double pipeline_exposed = 0.2;  // of what stages send, during the next microbatch
  double network_share = 0.85;    // of the sheet's network: 192 to 430 of 200 to 400 GB/s a node
                                  // (NVIDIA/nccl#1576, #1221)
  // The ring before hides half of a ring's latency.
  double hop_share = 0.5;

  // Passes over the matrix of scores, in bytes an element, of attention that is not fused: four
  // passes in 16 bits (product, mask and softmax, dropout, product), as in the Megatron-LM of 2021.
  double score_bytes = 8;

  double constant_s = 0.03;  // of a step: logging, data, the host's turn
  double straggler = 0.003;  // of a step for each doubling beyond one node: its slowest member
};

}  // namespace leasehold
