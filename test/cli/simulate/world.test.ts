/** Tests reading recorded traffic from files: lines of ticks, or the API's response with answers and outcomes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { worldOf } from '../../../cli/simulate/world.ts'
import { dayPolicy } from '../../../domain/release/policy.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-traffic-'))
afterAll(() => rmSync(directory, { recursive: true }))

function read(text: string) {
  const traffic = join(directory, 'traffic.json')
  writeFileSync(traffic, text)
  return worldOf({ traffic }, dayPolicy)
}
const tick = { requests: 10, errors: 1, invalid: 0 }
const answer = {
  model: 'iris',
  tick_ms: 5_000,
  ticks: [tick, tick],
  answers: { names: ['no', 'yes'], counts: [8, 2] },
  labels: { delay_ms: 1_000, window_ms: 2_000, predictions: 10, known: 9, right: 8 },
}

it('lines of ticks are repeated in the ticks of the policy', async () => {
  const world = await read(`${JSON.stringify(tick)}\n\n${JSON.stringify(tick)}\n`)
  expect(world).toMatchObject({ recorded: [tick, tick], tickMs: dayPolicy.watch.tickMs })
  expect(world.labels).toBeUndefined()
  expect(await read(JSON.stringify(tick))).toMatchObject({ recorded: [tick] })
})

it('an answer of the API carries its ticks, answers and outcomes', async () => {
  expect(await read(JSON.stringify(answer))).toMatchObject({
    tickMs: 5_000,
    recorded: [tick, tick],
    answers: answer.answers,
    labels: { delayMs: 1_000, windowMs: 2_000, predictions: 10, known: 9, right: 8 },
  })
})

it.each([
  ['a line that is no tick', `${JSON.stringify(tick)}\n{"requests":1}`, /line 2 must have \{"requests"/],
  ['a line that is not valid JSON', 'requests', /line 1 must have/],
  ['nothing', '\n', /holds no ticks/],
  ['an answer without ticks', JSON.stringify({ ...answer, ticks: [] }), /holds no ticks/],
  [
    'a negative count',
    JSON.stringify({ ...answer, answers: { names: ['a'], counts: [-1] } }),
    /counts of its answers and labels from 0/,
  ],
  ...[[{ names: ['x'], counts: [-1] }], [{ names: ['x'], counts: 'many' }], {}, [null]].map(
    (others): [string, string, RegExp] => [
      `${JSON.stringify(others)} as further numbers`,
      JSON.stringify({ ...answer, answers: { names: ['a'], counts: [1], others } }),
      /counts of its answers and labels from 0/,
    ],
  ),
  ['no length of a tick', JSON.stringify({ ...answer, tick_ms: undefined }), /must have tick_ms/],
])('%s is refused', async (_name, text, message) => {
  await expect(read(text)).rejects.toThrow(message)
})
