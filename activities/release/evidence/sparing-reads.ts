/** Reads evidence rarely where a reading is slow, so that the looks of a release neither burden the database nor wait. */
import { setTimeout as pause } from 'node:timers/promises'

/** Upper limit on the share of time spent on reading. */
const readShare = 0.05

/** Skips a reading unless all must be read or the last one was cheap compared with the time passed since. */
export function sparingly<T>(read: () => Promise<T>, readAll = read): (whole: boolean) => Promise<T> {
  let last: T | undefined
  let dueAt = 0
  return async (whole) => {
    const from = performance.now()
    if (!whole && last !== undefined && from < dueAt) return last
    last = await (whole ? readAll() : read())
    const to = performance.now()
    dueAt = to + (to - from) / readShare
    return last
  }
}

/**
 * Like `sparingly`, but a look does not wait for the end of a long reading. `isUnread`: no reading has ended yet or, where all must be read,
 * none that has begun since. A look waits less than an exposure lasts, which it renews.
 */
export function unhurriedly<T extends object>(
  read: () => Promise<T>,
  maxWaitMs = 8_000,
): (whole: boolean) => Promise<Partial<T> & { isUnread?: true }> {
  let last: { value: T; from: number; dueAt: number } | undefined
  let running: Promise<void> | undefined
  let failed: { error: unknown } | undefined
  let wholeFrom: number | undefined
  const begin = () => {
    const from = performance.now()
    return read()
      .then(
        (value) => {
          const to = performance.now()
          last = { value, from, dueAt: to + (to - from) / readShare }
        },
        (error: unknown) => void (failed = { error }),
      )
      .finally(() => (running = undefined))
  }
  return async (whole) => {
    const untilMs = performance.now() + maxWaitMs
    if (whole) wholeFrom ??= performance.now()
    const isUnread = () => last === undefined || (whole && last.from < wholeFrom!)
    for (let own: Promise<void> | undefined; ;) {
      if (failed !== undefined) {
        const { error } = failed
        failed = undefined
        throw error
      }
      if (running === undefined && (isUnread() || (own === undefined && performance.now() >= last!.dueAt)))
        own = running = begin()
      const awaited = isUnread() ? running : own
      const leftMs = untilMs - performance.now()
      if (awaited === undefined || leftMs <= 0) break
      await Promise.race([awaited, pause(leftMs, undefined, { ref: false })])
      if (!isUnread() && failed === undefined) break
    }
    if (isUnread()) return { ...(last?.value as Partial<T>), isUnread: true }
    if (whole) wholeFrom = undefined
    return last!.value
  }
}
