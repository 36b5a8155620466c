/** Tests that running workflows survive a deployment: recorded histories replay, and an incompatible change is detected. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { bundleForReplay, readHistories, replay, replayWith } from '../support/release/histories.ts'
import { quietRuntime } from '../support/servers/silence-temporal.ts'
import { first, further, unnoticed } from './planted-bugs.ts'

const recorded = readHistories()

beforeAll(() => {
  quietRuntime()
})

it.each([
  ['as it is', false],
  ['with tracing, which is compiled in only there', true],
])('every recorded history replays by the code %s', async (_how, traced) => {
  const bundle = await bundleForReplay(traced)
  expect(JSON.stringify(bundle).includes('_tracer-data')).toBe(traced)
  expect(await replay(bundle, recorded)).toEqual(recorded.map(({ name }) => ({ name })))
})

it('no step of a recorded history has failed', () => {
  const failed = recorded.filter(({ history }) => JSON.stringify(history).includes('"stackTrace"'))
  expect(failed.map(({ name }) => name)).toEqual([])
})

it('planted bugs break every recorded kind of workflow', () => {
  const broken = new Set([...first, ...further].flatMap(({ breaks }) => breaks))
  expect(recorded.map(({ name }) => name).filter((name) => !broken.has(name))).toEqual([])
  expect(unnoticed.flatMap(({ breaks }) => breaks)).toEqual([])
})

it.each([...first, ...further, ...unnoticed])(
  'the planted bug $name is found in the source',
  ({ file, changes }) => {
    const text = readFileSync(join(checkout, file), 'utf8')
    for (const [from] of changes) expect(text.split(from), from).toHaveLength(2)
  },
)

describe('replay detects a planted bug:', () => {
  it.each(first)('$name', async (change) => {
    const broken = (await replayWith(change, recorded)).filter(({ problem }) => problem !== undefined)
    expect(broken.map(({ name }) => name)).toEqual(change.breaks)
    for (const { problem } of broken) expect(problem).toMatch(/non-?determinis/i)
  })
})
