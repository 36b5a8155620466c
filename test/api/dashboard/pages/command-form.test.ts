/** Tests which commands the form of a release offers to a user, and why it does not offer an approval. */
import { describe, expect, it } from 'vitest'
import {
  CommandForm,
  decisionBar,
  possibleCommands,
} from '../../../../api/dashboard/pages/release/command-form.tsx'
import { whyWaiting } from '../../../../domain/release/explain.ts'
import { advance } from '../../../../domain/release/reducer.ts'
import { commandNames, type ReleaseState } from '../../../../domain/release/state.ts'
import type { Role } from '../../../../domain/roles.ts'
import { subjectOf } from '../../../support/dashboard/release-subject.ts'
import {
  advanceAll,
  commandEvent,
  opened,
  probated,
  releasePolicy,
  routedCanary,
  stateAt,
  undecided,
  waiting,
} from '../../../support/release/releases.ts'

const actorOf = (name: string, role: Role) => ({ id: `key-of-${name}`, name, role })
const offered = (state: ReleaseState, role: Role = 'admin', name = 'zoe') =>
  possibleCommands(actorOf(name, role), subjectOf(state))
const shown = async (state: ReleaseState, name: string) =>
  String(
    await CommandForm({
      subject: subjectOf(state),
      actor: actorOf(name, 'approver'),
      token: 'token',
      once: 'once',
    }),
  )
const { baseline: _baseline, ...first } = waiting

describe('the form of a release', () => {
  it.each<[string, ReleaseState]>([
    ...Object.entries(stateAt),
    ['a first version', first],
    ['a break-glass promotion', advanceAll(waiting, commandEvent('promoteNow', 'root'))],
    ['a paused stage', advanceAll(routedCanary, commandEvent('pause'))],
    ['a verdict against it', { ...routedCanary, lastVerdict: { kind: 'fail', reason: 'bad', atMs: 1 } }],
    ['an undecided probation', { ...undecided, undecidedStage: 'probation' }],
  ])('offers only what the release accepts: %s', (_name, state) => {
    for (const command of offered(state))
      expect(advance(state, { ...commandEvent(command, 'zoe'), role: 'admin' }).applied, command).toBe(true)
  })

  it.each(
    (['operator', 'approver', 'admin'] as const).flatMap((role) =>
      Object.entries(stateAt).map(([stage, state]) => [stage, role, state] as const),
    ),
  )(
    'reaches every command in %s for an %s, and ends a release by one red button',
    async (_stage, role, state) => {
      const commands = offered(state, role)
      const { direct, stop, breakGlass } = decisionBar(commands, state)
      const html = String(
        await CommandForm({ subject: subjectOf(state), actor: actorOf('zoe', role), token: 't', once: 'o' }),
      )
      const reds = [...html.matchAll(/<summary class="button danger"[^>]*>([^<]*)…</g)].map(
        ([, word]) => word,
      )
      const words = { rollback: 'Roll back', reject: 'Reject', abort: 'Abort' }
      expect(reds).toEqual(stop === undefined ? [] : [words[stop.command]])
      const reached = new Set<string>([
        ...[...html.matchAll(/name="command" value="(\w+)"/g)].map(([, name]) => name!),
        // The page sends a rollback with this box as an abort.
        ...(html.includes('name="again"') ? ['abort'] : []),
      ])
      // Once a stage has served, a rejection is a rollback; before, an abort ends a release as a rejection does.
      const same = stop?.command === 'rollback' ? 'reject' : stop?.command === 'reject' ? 'abort' : ''
      expect([...reached].toSorted()).toEqual(commands.filter((name) => name !== same).toSorted())
      expect([...direct, ...(breakGlass ? ['promoteNow'] : [])].every((name) => reached.has(name))).toBe(true)
    },
  )

  it('offers no break-glass promotion where the release refuses one', () => {
    expect(offered(waiting)).toContain('promoteNow')
    expect(offered(first)).not.toContain('promoteNow')
    expect(offered({ ...undecided, undecidedStage: 'probation' })).not.toContain('promoteNow')
  })

  it('offers one of two commands with the same effect', () => {
    expect(offered(opened, 'operator')).toEqual(['abort'])
    expect(offered(waiting, 'operator')).toEqual(['abort'])
    expect(offered(probated, 'operator')).toEqual(['pause', 'rollback'])
    expect(offered(routedCanary, 'operator').toSorted()).toEqual(['abort', 'pause', 'rollback'])
  })

  it('leaves the resume of a paused release to approvers, and its page says so', () => {
    const paused = advanceAll(routedCanary, commandEvent('pause'))
    expect(offered(paused, 'operator')).not.toContain('resume')
    expect(offered(paused, 'approver')).toContain('resume')
    expect(whyWaiting(paused)).toMatch(
      /^Paused by anna; an approver resumes it; rolls back automatically at /,
    )
  })

  it('offers nothing to a viewer, and nothing on a release that has ended', () => {
    expect(offered(waiting, 'viewer')).toEqual([])
    expect(offered(stateAt.ended)).toEqual([])
    expect(commandNames.filter((name) => offered(stateAt.rolling_back).includes(name))).toEqual([])
  })

  it('tells an approver why the release takes no approval from them', async () => {
    expect(await shown(waiting, 'ben')).toContain('value="approve"')
    const once = await shown(advanceAll(waiting, commandEvent('approve', 'ben')), 'ben')
    expect(once).toContain('You cannot approve: already approved by ben.')
    expect(once).not.toContain('value="approve"')
    const policy = { ...releasePolicy, approval: { ...releasePolicy.approval, from: ['ada', 'eve'] } }
    expect(await shown({ ...waiting, policy }, 'ben')).toContain('the policy names ada, eve')
    expect(await shown(waiting, waiting.requestedBy)).toContain(
      'requested the release; someone else must approve it',
    )
  })
})
