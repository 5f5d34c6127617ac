// Everybody's meters, the plans they are held against, and what an administrator asks about them and changes.
//
// One a broker. Any thread; a mutex for finding a meter and for what an administrator does, none for counting. Meters
// live while somebody holds them; what they count lives in the segment. The segment and the clock outlive it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/base/log.hpp"
#include "postern/limits/meter.hpp"
#include "postern/limits/plan_map.hpp"

namespace postern::limits {

// What one person has used, for the administrator.
struct Use {
  store::AccountKey account = 0;
  std::string login, plan;
  std::vector<Standing> standings;
  std::array<std::uint64_t, limit_kinds> extra{};
  std::int64_t extra_until = 0;  // 0: nothing on top
  // 30 times the day's, or `unlimited`.
  std::uint64_t month_mail_most = 0, month_files_most = 0;
};

class Book {
 public:
  // One at a time over a segment: no other counts in it.
  Book(store::SegmentWriter& segment, const Clock& clock, Logger& logger,
       std::shared_ptr<const PlanTable> plans);

  // The person's meter, always the same while somebody holds it.
  std::shared_ptr<Meter> open(store::AccountKey account, std::string_view login);
  // After a reload: from now on everybody is held against these.
  void set_plans(std::shared_ptr<const PlanTable> plans);
  std::shared_ptr<const PlanTable> plans() const;
  // What a lookup has found for somebody whom no map names: their plan from now on, and for as long as nothing else is
  // found, also after a restart. Empty: they have none there, and so the default one. False: there is no such plan.
  bool found_plan(store::AccountKey account, std::string_view login, std::string_view plan);

  // --- For the administrator ---
  Use use_of(store::AccountKey account, std::string_view login);
  // The people who have used the most of it, at most `count`.
  std::vector<Use> top(Limit by, std::size_t count) const;
  // So much more of one limit until then; what was granted before for other limits ends then, too.
  void grant(store::AccountKey account, std::string_view login, Limit limit, std::uint64_t amount,
             std::int64_t until);
  void reset(store::AccountKey account, std::string_view login);  // counts and grants

  // Before a stop drops the requests that have outlasted it: see Meter. Holds for meters to come, too.
  void leave_as_is();

  // Never shrinks: one for each plan that anybody has had since the start.
  std::vector<const PlanTotals*> totals() const;

 private:
  std::shared_ptr<Meter> open_locked(store::AccountKey account, std::string_view login);
  void apply(store::AccountKey account, Meter& meter, store::UsageTerms terms);
  store::UsageTerms terms_for(std::string_view login, const store::UsageTerms& before) const;
  PlanTotals& totals_of(const std::string& plan);
  Use use_in(const store::UsageRecord& record) const;

  store::SegmentWriter& segment_;
  const Clock& clock_;
  Logger& logger_;
  const unsigned generation_;  // see Windows
  bool left_as_is_ = false;
  mutable std::mutex mutex_;
  std::shared_ptr<const PlanTable> plans_;
  struct Open {
    std::weak_ptr<Meter> meter;
    std::string login;
  };
  std::unordered_map<store::AccountKey, Open> open_;
  std::size_t sweep_at_ = 1'024;  // entries of open_ at which those that have ended are taken out
  std::map<std::string, std::unique_ptr<PlanTotals>> totals_;
};

}  // namespace postern::limits
