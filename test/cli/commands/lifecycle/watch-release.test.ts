/** Tests `tenure releases watch`: redrawn in place on a terminal, line by line elsewhere, with the outcome as its exit code. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { releaseTrack } from '../../../../cli/commands/lifecycle/watch-release.ts'
import { releasesGroup } from '../../../../cli/commands/lifecycle/releases.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runProgram } from '../../../../cli/program.ts'
import type { ReleaseState } from '../../../../domain/release/state.ts'
import {
  advanceAll,
  commandEvent,
  ended,
  enteredShadow,
  judgedEvent,
  opened,
  rollingBackState,
  routedTargeted,
  second,
  stepEvents,
  undecided,
  waiting,
} from '../../../support/release/releases.ts'

const track = (state: ReleaseState): string => {
  const marks = { done: '✓', now: '●', upcoming: '○', skipped: '—', failed: '✗' }
  return releaseTrack(state)
    .map(({ name, status }) => marks[status] + name)
    .join(' ')
}

const breakGlass = advanceAll(waiting, commandEvent('promoteNow', 'root'), stepEvents.routed)

describe('the track of a release', () => {
  const all = ['pre-flight', 'approval', 'shadow 100 %', 'canary 1 %', 'canary 25 %', '100 %', 'probation']
  const marked = (marks: string) => all.map((name, i) => marks[i] + name).join(' ')
  it.each<[string, ReleaseState, string]>([
    ['waits for its approval', waiting, '✓●○○○○○'],
    ['is in its second share', second, '✓✓✓✓●○○'],
    ['waits for a decision on its first share', undecided, '✓✓✓●○○○'],
    ['was rolled back from its first share', rollingBackState, '✓✓✓✗○○○'],
    ['was promoted', ended, '✓✓✓✓✓✓✓'],
    ['did not pass its pre-flight checks', advanceAll(opened, stepEvents.disqualified), '✗○○○○○○'],
    ['was rejected', advanceAll(waiting, commandEvent('reject')), '✓✗○○○○○'],
    ['was approved and never routed', advanceAll(enteredShadow, stepEvents.stale), '✓✓✗○○○○'],
    ['is promoted by break-glass', breakGlass, '✓——●—○○'],
    [
      'was promoted by break-glass',
      advanceAll(breakGlass, judgedEvent('pass'), stepEvents.promoted),
      '✓——✓—✓●',
    ],
  ])('%s', (_name, state, marks) => {
    expect(track(state)).toBe(marked(marks))
  })

  it('of a first version has no probation, which needs a champion to hold back', () => {
    const { baseline: _, ...first } = ended
    expect(track(first)).toMatch(/✓100 %$/)
  })

  it('shows the stage of targeted callers', () => {
    expect(track(routedTargeted)).toContain('✓shadow 100 % ●targeted callers ○canary 1 %')
  })
})

describe('tenure releases watch', () => {
  let server: Server
  let url: string
  let states: ReleaseState[] = []
  const decision = {
    at: '2026-03-01T12:00:00.000Z',
    stage: 'canary',
    stage_index: 1,
    kind: 'inconclusive',
    reasons: [
      { code: 'minimum_requests', message: '4 of 10 requests', values: { requests: 4, minRequests: 10 } },
    ],
    statistics: {
      excessBad: 5,
      errorsLogE: 1,
      errorsThreshold: 4,
      scoreShiftLogE: 1,
      scoreShiftThreshold: 2,
    },
  }
  beforeAll(async () => {
    server = createServer((_request, response) => {
      const state = states.length > 1 ? states.shift()! : states[0]!
      const {
        id,
        model,
        version,
        baseline: baseline_version,
        stage,
        shareBp: share_bp,
        outcome,
        reason,
      } = state
      const body = {
        id,
        model,
        version,
        baseline_version,
        stage,
        share_bp,
        paused: false,
        outcome,
        reason,
        why: 'it waits',
      }
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ ...body, state, decisions: [decision], commands: [] }))
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  beforeEach(() => void (states = [second, ended]))
  afterAll(() => void server.close())

  async function watch(isTTY: boolean, ...more: string[]) {
    let out = ''
    const streams = {
      out: { write: (text: string) => (out += text), isTTY, columns: 120, hasColors: () => true },
      err: { write: () => true },
    }
    const words = ['release', 'watch', 'rel_1', '--url', url, ...more]
    return { code: await runProgram([releasesGroup], words, streams), out }
  }

  it('redraws stages and evidence in place on a terminal', async () => {
    const { code, out } = await watch(true)
    expect(code).toBe(exitCodes.done)
    // The second drawing begins above the first.
    expect(out).toContain('\u001b[8A\u001b[0J')
    const text = stripVTControlCharacters(out)
    expect(text).toContain('m_v1.1.0 against m_v1.0.0')
    expect(text).toContain('✓ canary 1 % ─ ● canary 25 % ─ ○ 100 %')
    expect(text).toContain('requests           ████████░░░░░░░░░░░░ 40 % of what the stage needs')
    expect(text).toContain('errors             █████░░░░░░░░░░░░░░░ 25 % of the way to a rollback')
    expect(text).toMatch(/score shift +\S+ 50 % of the way to an approver’s decision/)
    expect(text).toContain('failure budget     ██░░░░░░░░░░░░░░░░░░ 10 % of the way to a rollback')
    expect(text).toContain('tenure pause rel_1 · tenure rollback rel_1')
    expect(text).toContain('promoted: passed all stages and probation')
  })

  it('prints each change as a line elsewhere, and one document with --json', async () => {
    expect((await watch(false)).out).toBe(
      'canary 25 %: it waits\nm_v1.1.0: promoted (passed all stages and probation)\n',
    )
    states = [second, ended]
    expect(JSON.parse((await watch(false, '--json')).out)).toMatchObject({ outcome: 'promoted' })
  })

  it('ends with code 6 for a release that was not promoted', async () => {
    states = [advanceAll(second, judgedEvent('fail'), stepEvents.rolled_back)]
    expect((await watch(false)).code).toBe(exitCodes.otherwise)
  })
})
