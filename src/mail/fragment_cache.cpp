// A list in the order of use and a table by key; put() makes room from the end of the list until the budget holds.
#include "postern/mail/fragment_cache.hpp"

#include <cstring>

#include "postern/base/crypto.hpp"

namespace postern::mail {

FragmentCache::PlanKey FragmentCache::plan_key(std::string_view signature) {
  const auto digest = sha256(signature);
  PlanKey key{};
  static_assert(sizeof(key) <= sizeof(digest));
  std::memcpy(key.data(), digest.data(), sizeof(key));
  return key;
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
  bytes_ = 0;
}

void FragmentCache::erase(std::list<Entry>::iterator it) {
  bytes_ -= cost(*it->fragment);
  by_key_.erase(it->key);
  entries_.erase(it);
}

}  // namespace postern::mail
