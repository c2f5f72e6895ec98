#include "launch/leases/host_windows.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>

namespace leasehold {

namespace {

struct HostEntries {
  std::string_view host;
  std::vector<const Lease*> leases;  // by begin
  std::vector<const Curtailment*> curtailments;
};

template <typename Entry>
void sort_by_begin(std::vector<const Entry*>& entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry* a, const Entry* b) { return a->begin_s < b->begin_s; });
}

std::vector<HostEntries> entries_by_host(const LeaseCalendar& calendar) {
  std::vector<HostEntries> hosts;
  std::map<std::string_view, size_t> places;
  for (const Lease& lease : calendar.leases) {
    for (const std::string& host : lease.hosts) {
      const auto [place, is_new] = places.emplace(host, hosts.size());
      if (is_new) hosts.push_back({.host = host, .leases = {}, .curtailments = {}});
      hosts[place->second].leases.push_back(&lease);
    }
  }
  for (const Curtailment& curtailment : calendar.curtailments) {
    for (const std::string& host : curtailment.hosts) {
      const auto place = places.find(host);
      if (place != places.end()) hosts[place->second].curtailments.push_back(&curtailment);
    }
  }
  for (HostEntries& host : hosts) {
    sort_by_begin(host.leases);
    sort_by_begin(host.curtailments);
  }
  return hosts;
}

std::string curtailed_in_words(const Curtailment& curtailment) {
  if (curtailment.reason.empty()) return "it is curtailed";
  return fmt::format("it is curtailed ({})", curtailment.reason);
}

// Returns true if ranks of one lease can also run in the next one. A lease that names no memory
// promises none.
bool goes_on_in(const Lease& next, const Lease& lease, int64_t slots) {
  const bool has_memory = next.memory_per_slot_bytes == lease.memory_per_slot_bytes ||
                          (lease.memory_per_slot_bytes > 0 &&
                           next.memory_per_slot_bytes >= lease.memory_per_slot_bytes);
  return next.slots >= slots && has_memory;
}

// Opens the window: the lease at `place` holds now, and the leases that prolong it decide for how
// long.
void open(const HostEntries& entries, size_t place, double now_s, int64_t used_slots,
          HostWindow& window) {
  const Lease* last = window.lease = entries.leases[place];
  for (size_t i = place + 1; i < entries.leases.size(); ++i) {
    const Lease* next = entries.leases[i];
    if (next->begin_s > last->end_s || !goes_on_in(*next, *window.lease, used_slots)) break;
    last = next;
  }
  window.state = HostWindow::State::kOpen;
  window.until_s = last->end_s;
  window.sure_s = last->end_s - last->notice_s;
  window.why = fmt::format("its lease '{}' ends", last->id);
  for (const Curtailment* curtailment : entries.curtailments) {
    if (curtailment->begin_s > now_s && curtailment->begin_s < window.until_s) {
      window.until_s = curtailment->begin_s;
      window.why = curtailed_in_words(*curtailment);
    }
  }
  window.sure_s = std::min(window.sure_s, window.until_s);
}

// Closes the window if a curtailment holds now, until it and those that follow without a gap are
// over.
void curtail(const HostEntries& entries, double now_s, HostWindow& window) {
  double until_s = now_s;
  for (const Curtailment* curtailment : entries.curtailments) {
    if (curtailment->begin_s > until_s || curtailment->end_s <= until_s) continue;
    if (until_s == now_s) window.why = curtailed_in_words(*curtailment);
    until_s = curtailment->end_s;
  }
  if (until_s == now_s) return;
  window.state = HostWindow::State::kCurtailed;
  window.until_s = until_s;
}

HostWindow window_of(const HostEntries& entries, double now_s, const UsedSlots& used) {
  HostWindow window;
  window.host = entries.host;
  const auto& leases = entries.leases;
  size_t place = 0;  // the first lease that has not ended
  while (place < leases.size() && leases[place]->end_s <= now_s) ++place;
  if (place == leases.size()) {
    window.lease = leases.back();
    window.until_s = leases.back()->end_s;
    window.why = fmt::format("its lease '{}' ended", leases.back()->id);
  } else if (leases[place]->begin_s > now_s) {
    window.state = HostWindow::State::kNotYet;
    window.lease = leases[place];
    window.until_s = leases[place]->begin_s;
    window.why = fmt::format("its lease '{}' begins", leases[place]->id);
  } else {
    const auto known = used.find(entries.host);
    open(entries, place, now_s, known == used.end() ? leases[place]->slots : known->second, window);
    curtail(entries, now_s, window);
  }
  return window;
}

}  // namespace

std::vector<HostWindow> host_windows(const LeaseCalendar& calendar, double now_s,
                                     const UsedSlots& used) {
  std::vector<HostWindow> windows;
  for (const HostEntries& entries : entries_by_host(calendar)) {
    windows.push_back(window_of(entries, now_s, used));
  }
  return windows;
}

double next_calendar_moment_s(const LeaseCalendar& calendar, double now_s) {
  double next_s = kNever;
  const auto consider = [&](const auto& entries) {
    for (const auto& entry : entries) {
      if (entry.begin_s > now_s) next_s = std::min(next_s, entry.begin_s);
      if (entry.end_s > now_s) next_s = std::min(next_s, entry.end_s);
    }
  };
  consider(calendar.leases);
  consider(calendar.curtailments);
  return next_s;
}

}  // namespace leasehold
