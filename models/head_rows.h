// Chooses the rows of logits that a head makes at a time. Pure: depends on shapes, not the device.
#pragma once

#include <cstdint>

namespace leasehold {

// Logits exist for a chunk of a microbatch's N rows at a time, V columns of them on a rank. A chunk
// reads and writes the whole gradient of the table, which costs as much as the chunk's products
// where it has few rows. So rows are cut into as few equal chunks of whole 128 rows as
// - keep a chunk within 2^26 logits, or
// - have at most 2048 rows, within 2^28 logits (512 MiB in bf16), if these are more;
// a chunk has 128 rows at least. N up to the most is one chunk.
// The chunks decide the order of sums, and so the bits of a run (batch.head_rows in the job file).
int64_t head_rows(int64_t N, int64_t V);

// The rows of earlier versions: as few equal chunks as keep one within 2^26 logits.
int64_t earlier_head_rows(int64_t N, int64_t V);

}  // namespace leasehold
