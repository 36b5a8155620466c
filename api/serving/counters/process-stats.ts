/** Measures the memory, processor time and event-loop delay of this process since the last reading. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Resources } from '../../../store/serving/replicas.ts'

export type Meter = ReturnType<typeof startMeter>

const resolutionMs = 20

export function startMeter() {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  let used = process.cpuUsage()
  let since = performance.now()
  return {
    read(): Resources {
      const now = performance.now()
      const { user, system } = process.cpuUsage(used)
      // The delay includes the interval of the probe.
      const lateMs = Math.max(0, delay.percentile(99) / 1e6 - resolutionMs)
      const resources = {
        rssMb: process.memoryUsage.rss() / 1_048_576,
        cpuShare: (user + system) / 1_000 / Math.max(1, now - since),
        loopDelayMs: Number.isFinite(lateMs) ? lateMs : 0,
      }
      used = process.cpuUsage()
      since = now
      delay.reset()
      return resources
    },
    stop: () => void delay.disable(),
  }
}
