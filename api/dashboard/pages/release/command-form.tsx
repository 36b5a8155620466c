/**
 * Renders the commands that the user may send to a release, in one form with a reason. The form contains the digests and the stage shown on
 * the page, so that an approval applies to exactly what was shown.
 */
import { commandStages } from '../../../../domain/release/commands.ts'
import { mayApprove } from '../../../../domain/release/approval.ts'
import { approvalSides, type ApprovalSide } from '../../../../domain/release/rules/approvals.ts'
import {
  commandNames,
  commandRoles,
  stepsOf,
  type CommandName,
  type ReleaseState,
} from '../../../../domain/release/state.ts'
import type { Actor } from '../../../auth/authentication.ts'
import type { PageElement } from '../../page.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { Badge, DataTable, Time } from '../../components/elements.tsx'
import { plain, sentenceCase, stepText } from '../../labels.ts'
import type { ReleaseSubject } from './load.ts'
import { stageKey } from './verdict.tsx'

interface ButtonParts {
  word: string
  look?: 'second' | 'danger'
  /** Describes what the command changes. */
  does: (state: ReleaseState) => string
}

const championOf = ({ baseline }: ReleaseState): string => baseline ?? 'no version'

/** Before its first request, a release ends at once, and its version is not withdrawn. */
const isUnexposed = ({ stage }: ReleaseState): boolean =>
  stage === 'qualifying' || stage === 'awaiting_approval'
const endsIt = 'Ends the release; can be released again'

const buttons: Readonly<Record<CommandName, ButtonParts>> = {
  approve: {
    word: 'Approve',
    does: (state) =>
      state.stage === 'awaiting_decision' ? 'Passes this stage' : `Starts ${firstStep(state)}`,
  },
  reject: {
    word: 'Reject',
    look: 'danger',
    does: (state) =>
      state.stage === 'awaiting_approval'
        ? 'Ends the release; production unchanged'
        : `Rolls back to ${championOf(state)}`,
  },
  pause: { word: 'Pause', look: 'second', does: () => 'Stops the clock; automatic rollback stays on' },
  resume: {
    word: 'Resume',
    look: 'second',
    does: (state) =>
      state.stage === 'awaiting_decision' ? 'Extends the deadline of the stage' : 'Starts the clock again',
  },
  rollback: {
    word: 'Roll back',
    look: 'danger',
    does: (state) =>
      isUnexposed(state) ? endsIt : `All traffic to ${championOf(state)}; withdraws the version`,
  },
  abort: {
    word: 'Abort',
    look: 'danger',
    does: (state) =>
      isUnexposed(state)
        ? endsIt
        : `All traffic to ${championOf(state)}; ${state.promoted ? 'withdraws the version' : 'can be released again'}`,
  },
  promoteNow: { word: 'Emergency promote', look: 'danger', does: () => '' },
}

function firstStep(state: ReleaseState): string {
  const [step] = stepsOf(state)
  return step === undefined ? '100 %' : stepText(step.stage, step.policy.shareBp)
}

/** The commands in the order of their use; the first two are always visible. */
const inOrder: readonly CommandName[] = ['approve', 'reject', 'resume', 'pause', 'rollback', 'abort']

/** Commands for which the browser requires a reason. */
const needsReason: ReadonlySet<CommandName> = new Set(['reject', 'rollback', 'abort', 'promoteNow'])

/** Returns the commands of this role that would change the release now. */
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

/** Returns the hidden fields that bind the form to the page: digests, champion and stage. */
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
  /** The idempotency key: a form that is sent twice is one command. */
  once: string
}

export const CommandForm = ({ subject, actor, token, once }: FormParts): PageElement => {
  const { state } = subject.release
  const commands = possibleCommands(actor, subject)
  if (commands.length === 0 || token === undefined) return <></>
  const isRequester =
    state.requestedByKey === undefined ? state.requestedBy === actor.name : state.requestedByKey === actor.id
  const isNamed = mayApprove(state, { by: actor.name })
  const shown = isRequester || !isNamed ? commands.filter((name) => name !== 'approve') : commands
  const regular = inOrder.filter((name) => shown.includes(name))
  const inView = state.stage === 'awaiting_decision' ? 3 : 2
  const [first, others] = [regular.slice(0, inView), regular.slice(inView)]
  return (
    <section class="card decide" aria-labelledby="decide-heading" id="decide">
      <h2 id="decide-heading" class="aloud">
        Decide
      </h2>
      {isRequester && commands.includes('approve') && (
        <p class="notice small">You requested this release; someone else must approve it.</p>
      )}
      {!isRequester && !isNamed && commands.includes('approve') && (
        <p class="notice small">
          The model file names who approves: {state.policy.approval.from?.join(', ')}.
        </p>
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
        <div class="why">
          <label for="reason">
            Reason{' '}
            <span id="reason-hint" class="hint">
              logged with your name
            </span>
          </label>
          <textarea
            id="reason"
            name="reason"
            rows={1}
            required
            maxlength={2_000}
            aria-describedby="reason-hint"
          ></textarea>
        </div>
        <div class="choices">
          {first.map((name) => (
            <Choice name={name} state={state} />
          ))}
        </div>
        {(others.length > 0 || shown.includes('promoteNow')) && (
          <details>
            <summary>More actions</summary>
            <div class="choices">
              {others.map((name) => (
                <Choice name={name} state={state} />
              ))}
            </div>
            {shown.includes('promoteNow') && (
              <>
                <p class="small">
                  Emergency promotion skips approvals, minimum times and all stages but one: its requests,
                  then 100 % if no regression, within 1 h, then the probation. A critical alert reports it.
                </p>
                <CommandButton name="promoteNow" />
              </>
            )}
          </details>
        )}
      </form>
    </section>
  )
}

const Choice = ({ name, state }: { name: CommandName; state: ReleaseState }): PageElement => (
  <div>
    <CommandButton name={name} />
    <span id={`does-${name}`} class="quiet small">
      {buttons[name].does(state)}
    </span>
  </div>
)

const CommandButton = ({ name }: { name: CommandName }): PageElement => (
  <button
    name="command"
    value={name}
    class={buttons[name].look}
    formnovalidate={!needsReason.has(name)}
    aria-describedby={name === 'promoteNow' ? undefined : `does-${name}`}
  >
    {buttons[name].word}
  </button>
)

/** Returns `✓ ada`, or the names of the keys that may approve. */
function signedBy({ approvals, policy }: ReleaseState, side: ApprovalSide): string {
  const names = policy.approval.sides![side]
  const signed = approvals.filter(({ by }) => names.includes(by)).map(({ by }) => by)
  return signed.length > 0 ? `✓ ${signed.join(', ')}` : `needed from ${names.join(' or ')}`
}

/** Lists the commands sent to the release, newest first. */
export const CommandLog = ({ subject: { commands, release } }: { subject: ReleaseSubject }): PageElement => {
  const { approvals, policy, stage } = release.state
  const needed = policy.approval.approvers
  // An approver who has passed a stage stands there again.
  const persons = [...new Set(approvals.map(({ by }) => by))]
  const of = persons.length > needed ? '' : ` of ${needed}`
  const noun = (count: number) => (count === 1 ? 'approval' : 'approvals')
  return (
    <section class="card" aria-labelledby="activity-heading">
      <h2 id="activity-heading">Approvals and commands</h2>
      <p>
        {persons.length > 0
          ? `${persons.length}${of} ${noun(Math.max(needed, persons.length))}: ${persons.join(', ')}`
          : stage === 'awaiting_approval' || stage === 'qualifying'
            ? `${needed} ${noun(needed)} needed`
            : 'No approvals'}
      </p>
      {policy.approval.sides !== undefined && (
        <ul>
          {approvalSides.map((side) => (
            <li>
              {sentenceCase(side)}: {signedBy(release.state, side)}
            </li>
          ))}
        </ul>
      )}
      <DataTable
        caption="Commands"
        hideCaption
        rows={commands}
        empty="No activity yet"
        columns={[
          { head: 'Time', cell: ({ at }) => <Time at={at} /> },
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
