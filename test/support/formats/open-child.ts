/**
 * Opens model files in a process of its own: prints of each `{"name", "error", "ms"}` of the processor, a line each, and at the end
 * `{"megabytes"}` at most.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { openModelFile } from '../../../api/serving/formats/model-file.ts'

// With --expose-gc, so that the memory of one file is not that of the file before.
const { gc } = globalThis as { gc?: () => void }
for (const path of process.argv.slice(2)) {
  gc?.()
  const before = process.cpuUsage()
  let error: string | undefined
  try {
    openModelFile(path)
  } catch (thrown) {
    error = (thrown as Error).message
  }
  const { user, system } = process.cpuUsage(before)
  process.stdout.write(`${JSON.stringify({ name: basename(path), error, ms: (user + system) / 1_000 })}\n`)
}
// `maxRSS` begins with the memory of the process that started this one.
const [, peak] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))!
process.stdout.write(`${JSON.stringify({ megabytes: Number(peak) / 1_024 })}\n`)
