/** Tests when the process of ONNX Runtime starts and ends, and its memory at a registration. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { countOutputs, openSessionOf } from '../../../../src/formats/onnx/format.ts'
import { openOnnx } from '../../../../src/formats/onnx/open-onnx.ts'
import { createSessions } from '../../../../src/formats/onnx/session/session-host.ts'
import { demandingModel, graph, model, node, tensor, wholes } from '../../../support/onnx-writer.ts'

const bytes = demandingModel(1)
const file = { name: 'session', bytes, layout: openOnnx(bytes).layout }

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

it('ends also where it goes on as a child of the process that was started, as with an older Node', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-node-'))
  const [older, pid] = [join(folder, 'node'), join(folder, 'pid')]
  const { execPath } = process
  writeFileSync(older, `#!/bin/sh\n'${execPath}' "$@" &\necho $! > '${pid}'\nwait\n`, { mode: 0o700 })
  const sessions = createSessions({ onError: () => {} })
  process.execPath = older
  const predictor = await openSessionOf(sessions, file).finally(() => (process.execPath = execPath))
  const output = new Float32Array(1)
  await predictor.run(Float64Array.of(3), 1, output)
  expect([...output]).toEqual([3])
  await sessions.stop()
  const child = Number(readFileSync(pid, 'utf8'))
  rmSync(folder, { recursive: true })
  await expect.poll(() => isAlive(child)).toBe(false)
})

it('may start more slowly than the limit of a graph, which begins when the process is ready', async () => {
  // Below the limit of the start itself.
  const graphMs = 25_000
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const sessions = createSessions({ onError: () => {}, loadMs: graphMs })
  const opening = openSessionOf(sessions, file)
  vi.advanceTimersByTime(graphMs + 1_000)
  vi.useRealTimers()
  const { outputs } = await opening
  expect(outputs).toBe(1)
  await sessions.stop()
})

/** A graph that computes with as many numbers for each row. */
function wideModel(numbers: number): Buffer {
  const nodes = [
    node({ op: 'ConstantOfShape', inputs: ['shape'], outputs: ['zeros'] }),
    node({ op: 'Add', inputs: ['x', 'zeros'], outputs: ['wide'] }),
    node({ op: 'ReduceMax', inputs: ['wide'], outputs: ['y'], attributes: { axes: [1] } }),
  ]
  const initializers = [tensor('shape', [2], 7, wholes([1, numbers]))]
  return model(graph({ nodes, initializers }), { '': 17 })
}

it.each([
  [3_200_000, 'also where 64 rows together need more memory than it has', 1],
  [200_000_000, 'but not beyond 768 MB', /alloc/],
])('inspects a graph of %i numbers a row, %s', async (numbers, _, wanted) => {
  const large = wideModel(numbers)
  const outputs = countOutputs(large, openOnnx(large), { loadMs: 60_000 })
  if (typeof wanted === 'number') expect(await outputs).toBe(wanted)
  else await expect(outputs).rejects.toThrow(wanted)
})
