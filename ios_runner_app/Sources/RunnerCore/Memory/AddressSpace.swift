#if canImport(Darwin)
  @preconcurrency import Darwin
#else
  @preconcurrency import Glibc
#endif

/// All that a process can address on the 64-bit systems of Linux and Apple, and to what the answer is exact.
private let highestBytes = 1 << 47
private let resolutionBytes = 1 << 20

/// How much private memory could be mapped at once, found by trying: 27 mappings, none of them ever touched.
///
/// On a phone this is the largest hole of the address space that the kernel gives an app; on a virtual phone
/// `RLIMIT_DATA` less what the app has. Only for an app that does nothing else meanwhile: for a moment nothing is left
/// for anybody.
func largestMappingBytes() -> Int64 {
  var low = 0
  var high = highestBytes / resolutionBytes
  while high - low > 1 {
    let middle = (low + high) / 2
    if canBeMapped(middle * resolutionBytes) { low = middle } else { high = middle }
  }
  return Int64(low * resolutionBytes)
}

private func canBeMapped(_ sizeBytes: Int) -> Bool {
  // Both kernels have MAP_NORESERVE, and only Linux heeds it: how much memory the machine has must not matter.
  let flags = MAP_PRIVATE | MAP_ANON | MAP_NORESERVE
  guard let base = mmap(nil, sizeBytes, PROT_READ | PROT_WRITE, flags, -1, 0), base != MAP_FAILED else { return false }
  munmap(base, sizeBytes)
  return true
}
