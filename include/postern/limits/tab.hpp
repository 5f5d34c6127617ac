// What one request has counted, over all its reservations, so that it counts once also where the broker ends in the
// middle of it and the worker sends it again.
//
// While the request runs the segment remembers how much of the windows is its (Windows::remember). The process that has
// it sent again begins with that: it counts for what is granted first, and what isn't needed in the end is given back.
// So the request counts as what its last attempt moves. One a request, on one loop; reservations hold it, and whoever
// answers the request, until the answer is handed over: what is dropped before that comes again. It may end on another
// loop once this one has done with it. Bounds: the places of Windows for what is pending; a request that
// finds none free counts anew.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>

#include "postern/limits/meter.hpp"

namespace postern::limits {

class Tab : public std::enable_shared_from_this<Tab> {
 public:
  // `request`: the same for a request and its repetition, such as a hash of its id; 0 for one that isn't sent again.
  Tab(std::shared_ptr<Meter> meter, std::uint64_t request) : meter_(std::move(meter)), request_(request) {}
  Tab(const Tab&) = delete;
  Tab& operator=(const Tab&) = delete;
  ~Tab();

  // `small` and `is_estimate`: see Charge.
  std::expected<Reservation, Refusal> reserve(Count count, std::uint64_t amount, bool small = false,
                                              bool is_estimate = false);
  // Nothing more will be reserved: gives back what an earlier process has had counted and this one didn't need.
  void give_back();

 private:
  friend class Reservation;
  struct Line {
    bool is_open = false;
    std::optional<std::size_t> place;  // in the segment
    // What an earlier process has had counted, and this one has not used yet; when that was.
    std::uint64_t credit = 0;
    std::int64_t credit_at = 0;
  };
  void open(Line& line, Count count);
  // It is remembered for the process to come, and not to be touched any more.
  bool is_left(const Line& line) const;
  // So much more, or less, of the windows is this request's.
  void add(Count count, std::uint64_t amount);
  void take(Count count, std::uint64_t amount);
  Line& line(Count count) { return lines_[static_cast<std::size_t>(count)]; }

  const std::shared_ptr<Meter> meter_;
  const std::uint64_t request_;
  std::array<Line, count_kinds> lines_;
};

}  // namespace postern::limits
