// @ts-check
// Reports what the set-up is doing, how much is done and how long it took. Several steps may run at once: a terminal gets one live line for
// all of them, a pipe or a log file gets one line per step every ten seconds.

/** @typedef {{ update: (text: string) => void, done: (text: string) => void, fail: () => void }} Step */

const LIVE_EVERY_MS = 200
const PLAIN_EVERY_MS = 10_000
const NAME_WIDTH = 12

/** @typedef {ReturnType<typeof startProgress>} Progress */

/** @param {{ write: (text: string) => unknown, isTTY?: boolean, columns?: number }} stream */
export function startProgress(stream) {
  const live = stream.isTTY === true
  /** @type {Map<string, { startedMs: number, text: string }>} */
  const working = new Map()
  const clear = () => live && stream.write('\r\x1b[2K')

  const tell = () => {
    if (working.size === 0) return
    const parts = [...working].map(([name, step]) => `${name} ${joined([step.text, since(step.startedMs)])}`)
    if (live) stream.write(`\r\x1b[2K${`  … ${parts.join('  |  ')}`.slice(0, (stream.columns ?? 100) - 1)}`)
    else for (const part of parts) stream.write(`  … ${part}\n`)
  }
  const timer = setInterval(tell, live ? LIVE_EVERY_MS : PLAIN_EVERY_MS)
  timer.unref()

  return {
    /** @param {string} text */
    say(text) {
      clear()
      stream.write(`${text}\n`)
    },
    /** @param {string} name @param {string} reason @returns {Step} */
    begin(name, reason) {
      const startedMs = Date.now()
      working.set(name, { startedMs, text: '' })
      if (!live) stream.write(`  … ${name}: ${reason}\n`)
      return {
        update(text) {
          working.set(name, { startedMs, text })
        },
        done(text) {
          working.delete(name)
          clear()
          stream.write(`  ✓ ${name.padEnd(NAME_WIDTH)} ${joined([text, since(startedMs)])}\n`)
        },
        fail() {
          working.delete(name)
          clear()
          stream.write(`  ✗ ${name.padEnd(NAME_WIDTH)} failed after ${since(startedMs)}\n`)
        },
      }
    },
    stop() {
      clearInterval(timer)
      clear()
    },
  }
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`
}

/** @param {number} startedMs */
export function since(startedMs) {
  const seconds = (Date.now() - startedMs) / 1000
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`
  return `${Math.floor(Math.round(seconds) / 60)} min ${Math.round(seconds) % 60} s`
}

/** @param {string[]} parts */
function joined(parts) {
  return parts.filter((part) => part !== '').join(', ')
}
