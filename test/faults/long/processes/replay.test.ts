/**
 * Tests F30, new code on old histories: replays every recorded history on each planted change of the workflow code. The regular suite
 * plants four of the changes.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { reached } from '../../figures.ts'
import { readHistories, replayWith } from '../../../support/release/histories.ts'
import { quietRuntime } from '../../../support/servers/silence-temporal.ts'
import { first, further, unnoticed } from '../../../workflows/planted-bugs.ts'

const recorded = readHistories()
const caught = [...first, ...further]
let found = 0

beforeAll(() => {
  quietRuntime()
})
afterAll(() => {
  reached('F30', `${found} of ${caught.length} planted changes caught, by ${recorded.length} histories`)
})

describe('replay detects a planted change:', () => {
  it.each(caught)('$name', async (change) => {
    const broken = (await replayWith(change, recorded)).filter(({ problem }) => problem !== undefined)
    expect(broken.map(({ name }) => name)).toEqual(change.breaks)
    for (const { problem } of broken) expect(problem).toMatch(/non-?determinis/i)
    found++
  })
})

describe('replay does not detect a planted change:', () => {
  it.each(unnoticed)('$name', async (change) => {
    expect((await replayWith(change, recorded)).filter(({ problem }) => problem !== undefined)).toEqual([])
  })
})
