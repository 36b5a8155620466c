/**
 * Opens model files in a child process. Prints one line `{"name", "error", "ms"}` per file, with CPU time in ms, and finally
 * `{"megabytes"}`, the peak memory.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { isOnnx } from '../../src/formats/onnx/graph.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import { readForest } from '../../src/formats/trees/read-forest.ts'

/** Reads a file as `inspect` of its format does, without ONNX Runtime. */
function read(bytes: Buffer): void {
  if (!isOnnx(bytes)) readForest(bytes)
  else if (openOnnx(bytes).forest === undefined) throw new Error('the ONNX graph holds more than trees')
}

// With --expose-gc the memory of one file does not count for the next.
const { gc } = globalThis as { gc?: () => void }
for (const path of process.argv.slice(2)) {
  gc?.()
  const before = process.cpuUsage()
  let error: string | undefined
  try {
    read(readFileSync(path))
  } catch (thrown) {
    error = (thrown as Error).message
  }
  const { user, system } = process.cpuUsage(before)
  process.stdout.write(`${JSON.stringify({ name: basename(path), error, ms: (user + system) / 1_000 })}\n`)
}
// `maxRSS` starts with the memory of the parent process.
const [, peak] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))!
process.stdout.write(`${JSON.stringify({ megabytes: Number(peak) / 1_024 })}\n`)
