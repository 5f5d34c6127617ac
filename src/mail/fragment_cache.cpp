// A list in the order of use and a table by key; put() makes room from the end of the list until the budget holds.
#include "postern/mail/fragment_cache.hpp"

namespace postern::mail {

std::uint32_t FragmentCache::plan_number(const std::string& signature) {
  if (auto it = plans_.find(signature); it != plans_.end()) return it->second;
  if (plans_.size() >= plans_max) clear();
  // Never used twice: a fetch that is under way may still put fragments under an old number.
  plans_.emplace(signature, ++last_plan_);
  return last_plan_;
}

std::shared_ptr<const Fragment> FragmentCache::find(const Key& key) {
  auto it = by_key_.find(key);
  if (it == by_key_.end()) {
    ++misses_;
    return nullptr;
  }
  ++hits_;
  entries_.splice(entries_.begin(), entries_, it->second);
  return it->second->fragment;
}

void FragmentCache::put(const Key& key, std::shared_ptr<const Fragment> fragment) {
  if (auto it = by_key_.find(key); it != by_key_.end()) erase(it->second);
  const auto bytes = cost(*fragment);
  if (bytes > budget_bytes_) return;
  while (bytes_ + bytes > budget_bytes_) erase(std::prev(entries_.end()));
  entries_.push_front(Entry{key, std::move(fragment)});
  by_key_[key] = entries_.begin();
  bytes_ += bytes;
}

void FragmentCache::drop_account(store::AccountKey account) {
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto next = std::next(it);
    if (it->key.account == account) erase(it);
    it = next;
  }
}

void FragmentCache::clear() {
  entries_.clear();
  by_key_.clear();
  plans_.clear();
  bytes_ = 0;
}

void FragmentCache::erase(std::list<Entry>::iterator it) {
  bytes_ -= cost(*it->fragment);
  by_key_.erase(it->key);
  entries_.erase(it);
}

}  // namespace postern::mail
