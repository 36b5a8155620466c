/**
 * Cuts and heals every link between a process and Postgres or Temporal, in a different order for each seed. Five seeds run here; `npm run
 * bench -- fleet links` runs twenty.
 */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { cutAllLinks, linkedStage, type LinkResult } from '../../../support/fleet/links.ts'
import { expectWithin, reached } from '../../figures.ts'
import { openLinkedShow, type LinkedShow } from '../../../support/fleet/linked-fleet.ts'

const seeds = [1, 2, 3, 4, 5]
const mostSettleMs = 30_000

let show: LinkedShow
const all: LinkResult[] = []
beforeAll(async () => {
  show = await openLinkedShow(linkedStage)
})
afterAll(async () => {
  await show?.stop()
  if (all.length < seeds.length) return
  const settled = all.map(({ settledMs }) => settledMs).toSorted((a, b) => a - b)
  reached(
    'F20',
    `${all.length} seeds, ${show.links.length} links each: settled ${settled[Math.floor(settled.length / 2)]} ms after the last in the median, ${settled.at(-1)} at most; ${all.map(({ outcome }) => outcome).join(', ')}`,
  )
})
afterEach((context) => {
  if (context.task.result?.state === 'fail')
    process.stderr.write(`${show.system.lines.slice(-80).join('\n')}\n`)
})

it.each(seeds)(
  'the system settles after all links are cut one by one and healed in another order, seed %i',
  async (seed) => {
    const found = await cutAllLinks(show, seed)
    all.push(found)
    expectWithin(found.settledMs, mostSettleMs)
    expect(['promoted', 'rolled_back', 'failed']).toContain(found.outcome)
    expect(found).toMatchObject({ failures: [], strange: 0, audit: 'whole' })
    const { served, stored, dropped, rows } = found.log
    expect([stored + dropped, rows]).toEqual([served, stored])
  },
)
