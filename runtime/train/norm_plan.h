// Plans how one rank takes part in the sums under the gradient norm (gradient_norm.h). Pure, and
// made of the rank's own shards alone.
//
// A node of a tree belongs to the rank that owns the node's first chunk. Nodes inside a run of own
// chunks are summed in place. A node that reaches over several runs is its left half, which belongs
// to the same rank, plus its right half, which the owner of that one sends. So values and messages
// grow with the own shards and with the depth of the trees, and not with the world.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/train/flat_layout.h"

namespace leasehold {

// A parameter, or the piece of one that a tensor rank holds.
struct NormTree {
  std::string parameter;
  int piece = 0;
  auto operator<=>(const NormTree&) const = default;
};

// Share that a rank has of one part of the model.
struct NormPart {
  const FlatLayout* layout = nullptr;
  int piece = 0;              // its tensor rank
  std::vector<bool> counted;  // per parameter of the layout: false where another rank counts it
};

struct NormPlan {
  // A node inside a run of own chunks, in the shard spaces of the parts, one after the other.
  struct OwnNode {
    int64_t first_chunk = 0;
    int64_t num_chunks = 0;
  };
  // values[left] += values[right].
  struct Merge {
    size_t left = 0;
    size_t right = 0;
  };
  // Values [begin, begin + count) of what is sent, or of the slots.
  struct Message {
    int peer = 0;  // data rank
    int64_t begin = 0;
    int64_t count = 0;
  };
  // First the merges, then the messages, of both sides in one order. Round 0 exchanges nodes inside
  // runs; round n sums the nodes of level n that reach over several runs, and exchanges those.
  struct Round {
    std::vector<Merge> merges;
    std::vector<Message> sends;
    std::vector<Message> receives;
  };
  // The sum of a tree that begins in this rank's shards.
  struct Root {
    size_t slot = 0;
    int64_t tree = 0;
  };

  int64_t num_chunks = 0;          // of the shard spaces
  std::vector<OwnNode> nodes;      // slots [0, nodes.size()): each grows to what begins with it
  int64_t num_slots = 0;           // with those of received values
  std::vector<size_t> sent_slots;  // what is sent, message after message
  std::vector<Round> rounds;       // without those in which nothing happens
  std::vector<Root> roots;
};

// `parts`: what the rank holds as data rank `shard`. `trees`: those of the whole model, ascending.
NormPlan plan_norm(std::span<const NormPart> parts, int shard, std::span<const NormTree> trees);

}  // namespace leasehold
