/**
 * Renders the commands that the user may send to a release, in one form with a reason. The form carries the digests and the stage
 * shown on the page, so that an approval applies to exactly that.
 */
import { commandStages } from '../../../../domain/release/commands.ts'
import { commandNames, commandRoles, type CommandName } from '../../../../domain/release/state.ts'
import type { Actor } from '../../../auth/authentication.ts'
import type { PageElement } from '../../page.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { Badge, DataTable, Time } from '../../components/elements.tsx'
import { plain } from '../../labels.ts'
import type { ReleaseSubject } from './load.ts'
import { stageKey } from './verdict.tsx'

const buttons: Readonly<Record<CommandName, { word: string; look?: 'second' | 'danger' }>> = {
  approve: { word: 'Approve' },
  reject: { word: 'Reject', look: 'danger' },
  pause: { word: 'Pause', look: 'second' },
  resume: { word: 'Resume', look: 'second' },
  rollback: { word: 'Roll back', look: 'danger' },
  abort: { word: 'Abort', look: 'danger' },
  promoteNow: { word: 'Emergency promote', look: 'danger' },
}

/** The commands of this role that would change the release now. */
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

/** The hidden fields that bind the form to the page: digests, champion and stage. */
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

interface FormParts {
  subject: ReleaseSubject
  actor: Actor
  token: string | undefined
  /** Idempotency key: a form sent twice is one command. */
  once: string
}

export const CommandForm = ({ subject, actor, token, once }: FormParts): PageElement => {
  const { state } = subject.release
  const commands = possibleCommands(actor, subject)
  if (commands.length === 0 || token === undefined) return <></>
  const isRequester =
    state.requestedByKey === undefined ? state.requestedBy === actor.name : state.requestedByKey === actor.id
  const shown = isRequester ? commands.filter((name) => name !== 'approve') : commands
  const regular = shown.filter((name) => name !== 'promoteNow')
  return (
    <section class="card" aria-labelledby="decide-heading" id="decide">
      <h2 id="decide-heading">Decide</h2>
      {isRequester && commands.includes('approve') && (
        <p class="notice">You requested this release; someone else must approve it.</p>
      )}
      <p id="moved" class="notice warn" role="status" hidden>
        This release has changed. <a href={`/releases/${state.id}`}>Reload</a>
      </p>
      <form method="post" action={`/releases/${state.id}/commands`} data-shows={stageKey(subject)}>
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
          Logged with your name. Applies to {state.version} as shown.
        </p>
        <div class="actions">
          {regular.map((name) => (
            <CommandButton name={name} />
          ))}
        </div>
        {shown.includes('promoteNow') && (
          <details>
            <summary>Emergency promotion</summary>
            <p>
              Skips approvals and waits: one stage, then 100 % if no regression, within 1 h. Everyone is
              notified.
            </p>
            <CommandButton name="promoteNow" />
          </details>
        )}
      </form>
    </section>
  )
}

const CommandButton = ({ name }: { name: CommandName }): PageElement => (
  <button name="command" value={name} class={buttons[name].look}>
    {buttons[name].word}
  </button>
)

/** The commands sent to the release, newest first. */
export const CommandLog = ({ subject: { commands, release } }: { subject: ReleaseSubject }): PageElement => {
  const { approvals, policy, stage } = release.state
  const needed = policy.approval.approvers
  return (
    <section class="card" aria-labelledby="activity-heading">
      <h2 id="activity-heading">Approvals and commands</h2>
      <p>
        {approvals.length > 0
          ? `${approvals.length} of ${needed} ${needed === 1 ? 'approval' : 'approvals'}: ${approvals.map(({ by }) => by).join(', ')}`
          : stage === 'awaiting_approval' || stage === 'qualifying'
            ? `${needed} ${needed === 1 ? 'approval' : 'approvals'} needed`
            : 'No approvals'}
      </p>
      <DataTable
        caption="Commands"
        hideCaption
        rows={commands}
        empty="No activity yet"
        columns={[
          { head: 'Time (UTC)', cell: ({ at }) => <Time at={at} /> },
          { head: 'Actor', names: true, cell: ({ actor }) => actor },
          { head: 'Action', cell: ({ command }) => plain(command) },
          {
            head: 'Status',
            cell: ({ accepted }) =>
              accepted ? <Badge tone="good">accepted</Badge> : <Badge tone="warn">rejected</Badge>,
          },
          { head: 'Reason', cell: ({ reason }) => reason ?? '' },
          { head: 'Result', cell: ({ message, stage: at }) => `${message} (${plain(at)})` },
        ]}
      />
    </section>
  )
}
