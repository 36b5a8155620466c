/**
 * What this person may say to the release now, in one form with a reason. It carries what the page shows, so that nobody approves
 * something else than was read; the server refuses anyway what the role, the stage or the digests do not allow.
 */
import { commandStages } from '../../../../domain/release/commands.ts'
import { commandNames, commandRoles, type CommandName } from '../../../../domain/release/state.ts'
import type { Actor } from '../../../auth/authentication.ts'
import type { View } from '../../page.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { Badge, Table, Time } from '../../components/elements.tsx'
import { plain } from '../../labels.ts'
import type { ReleaseSubject } from './load.ts'
import { stageKey } from './verdict.tsx'

const buttons: Readonly<Record<CommandName, { word: string; look: 'first' | 'second' | 'danger' }>> = {
  approve: { word: 'Approve', look: 'first' },
  reject: { word: 'Reject', look: 'danger' },
  pause: { word: 'Pause', look: 'second' },
  resume: { word: 'Resume', look: 'second' },
  rollback: { word: 'Roll back', look: 'danger' },
  abort: { word: 'Abort', look: 'danger' },
  promoteNow: { word: 'Promote now', look: 'danger' },
}

/** What this role can say that would change something now. */
export function possibleCommands(
  { role }: Actor,
  { release: { state, endedAt } }: ReleaseSubject,
): CommandName[] {
  if (endedAt !== undefined) return []
  return commandNames.filter((name) => {
    if (!commandRoles[name].includes(role) || !commandStages[name].includes(state.stage)) return false
    if (name === 'pause') return !state.paused
    if (name === 'resume') return state.paused || state.stage === 'awaiting_decision'
    if (name === 'promoteNow') return state.breakGlass === undefined && state.drill === undefined
    return true
  })
}

/** What the form is bound to. */
export function shownFields(subject: ReleaseSubject): Record<string, string> {
  const { candidate, release, champion } = subject
  const { digests, stage, stageIndex } = release.state
  return {
    artifact: candidate?.artifactDigest ?? digests.artifact,
    evaluation: candidate?.evaluationDigest ?? digests.evaluation,
    policy: digests.policy,
    champion: champion?.version ?? '',
    stage,
    stage_index: String(stageIndex),
  }
}

export const Decide = ({
  subject,
  actor,
  token,
  once,
}: {
  subject: ReleaseSubject
  actor: Actor
  token: string | undefined
  /** The name of the command: a form that is sent twice is one command. */
  once: string
}): View => {
  const { state } = subject.release
  const commands = possibleCommands(actor, subject)
  if (commands.length === 0 || token === undefined) return <></>
  const isRequester =
    state.requestedByKey === undefined ? state.requestedBy === actor.name : state.requestedByKey === actor.id
  const shown = isRequester ? commands.filter((name) => name !== 'approve') : commands
  const usual = shown.filter((name) => name !== 'promoteNow')
  return (
    <section class="card" aria-labelledby="decide-heading" id="decide">
      <h2 id="decide-heading">Decide</h2>
      {isRequester && commands.includes('approve') && (
        <p class="notice">You have asked for this release, so somebody else has to approve it.</p>
      )}
      <p id="moved" class="notice warn" role="status" hidden>
        The release has gone on since this form was made.{' '}
        <a href={`/releases/${state.id}`}>Show it as it is now</a>
      </p>
      <form method="post" action={`/releases/${state.id}/say`} data-shows={stageKey(subject)}>
        <TokenField token={token} />
        <input type="hidden" name="once" value={once} />
        {Object.entries(shownFields(subject)).map(([name, value]) => (
          <input type="hidden" name={name} value={value} />
        ))}
        <label for="reason">Reason</label>
        <textarea
          id="reason"
          name="reason"
          required
          maxlength={2_000}
          aria-describedby="reason-hint"
        ></textarea>
        <p id="reason-hint" class="hint">
          It is kept with your name in the audit, for good. What you say is said to {state.version} as shown
          here.
        </p>
        <div class="actions">
          {usual.map((name) => (
            <CommandButton name={name} />
          ))}
        </div>
        {shown.includes('promoteNow') && (
          <details>
            <summary>Break glass</summary>
            <p>
              Stands in for missing approvals and for waiting. The candidate meets the callers of one share,
              and goes on to all of them when nothing speaks against it, within an hour; everybody is told.
            </p>
            <CommandButton name="promoteNow" />
          </details>
        )}
      </form>
    </section>
  )
}

const CommandButton = ({ name }: { name: CommandName }): View => (
  <button name="command" value={name} class={buttons[name].look === 'first' ? undefined : buttons[name].look}>
    {buttons[name].word}
  </button>
)

/** Who has said what, the newest first. */
export const Said = ({ subject: { commands, release } }: { subject: ReleaseSubject }): View => {
  const { approvals, policy } = release.state
  return (
    <section class="card" aria-labelledby="said-heading">
      <h2 id="said-heading">Approvals and commands</h2>
      <p>
        {approvals.length} of {policy.approval.approvers} approvals
        {approvals.length === 0 ? '' : `: ${approvals.map(({ by }) => by).join(', ')}`}.
      </p>
      <Table
        caption="What was said to the release"
        hideCaption
        rows={commands}
        empty="Nobody has said anything yet."
        columns={[
          { head: 'When (UTC)', cell: ({ at }) => <Time at={at} /> },
          { head: 'Who', names: true, cell: ({ actor }) => actor },
          { head: 'Said', cell: ({ command }) => plain(command) },
          {
            head: '',
            cell: ({ accepted }) => (
              <Badge tone={accepted ? 'good' : 'warn'}>{accepted ? 'accepted' : 'refused'}</Badge>
            ),
          },
          { head: 'Reason', cell: ({ reason }) => reason ?? '' },
          { head: 'Answer', cell: ({ message, stage }) => `${message} (${plain(stage)})` },
        ]}
      />
    </section>
  )
}
