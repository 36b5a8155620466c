import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readPlace, writePlace } from '../../../cli/demo/place.ts'
import { storyPolicy } from '../../../cli/demo/policy.ts'
import { issuesOfPolicy } from '../../../domain/policy.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { migratedDatabase } from '../../support/servers.ts'

const dayMs = 86_400_000
const span = { lastMs: Date.UTC(2001, 6, 1) }
let store: Store
beforeAll(async () => {
  store = openStore(await migratedDatabase())
})
afterAll(() => store.close())

describe('the place of the story', () => {
  it('is the first day for which there is enough to train on', async () => {
    expect(await readPlace(store, span)).toEqual({ replayedToMs: Date.UTC(2001, 0, 29), told: 0 })
  })

  it('is where it was left', async () => {
    const place = { replayedToMs: Date.UTC(2001, 2, 4), told: 1 }
    await writePlace(store, place)
    await writePlace(store, place)
    expect(await readPlace(store, span)).toEqual(place)
  })

  it('is the first day again when the records would not last for the story', async () => {
    await writePlace(store, { replayedToMs: span.lastMs - 20 * dayMs, told: 4 })
    expect(await readPlace(store, span)).toEqual({ replayedToMs: Date.UTC(2001, 0, 29), told: 4 })
  })
})

describe('the policy of the story', () => {
  it('is one that a release accepts', () => expect(issuesOfPolicy(storyPolicy)).toEqual([]))

  it('ends within its deadlines, which are below the patience of the one who tells it', () => {
    const stages = [storyPolicy.shadow, ...storyPolicy.stages, storyPolicy.probation]
    const sum = stages.reduce((total, stage) => total + (stage?.deadlineMs ?? 0), 0)
    expect(sum + storyPolicy.watch.decisionMs).toBeLessThan(600_000)
  })
})
