/**
 * Renders the commands that the user may send to a release: buttons first, and reasons that open on demand. Each form contains the digests and
 * the stage shown on the page, so that an approval applies to exactly what was shown.
 */
import { Reason } from '../../components/reason.tsx'
import { advanceByCommand, type Advance } from '../../../../domain/release/reducer.ts'
import { approversOf } from '../../../../domain/release/approval.ts'
import { approvalSides, type ApprovalSide } from '../../../../domain/release/rules/approval-policy.ts'
import {
  commandNames,
  commandRoles,
  stepsOf,
  type CommandName,
  type ReleaseState,
} from '../../../../domain/release/state.ts'
import type { Child } from 'hono/jsx'
import type { Actor } from '../../../auth/authentication.ts'
import type { PageElement } from '../../page.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { Badge, DataTable, Time } from '../../components/elements.tsx'
import { Term } from '../../glossary.tsx'
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

/** Before its first request, a release ends at once, and its version may be released again. */
const isUnexposed = ({ stage }: ReleaseState): boolean =>
  stage === 'qualifying' || stage === 'awaiting_approval'

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
    does: (state) => `All traffic to ${championOf(state)}; the version is never released again`,
  },
  abort: {
    word: 'Abort',
    look: 'danger',
    does: (state) =>
      `${isUnexposed(state) ? 'Ends the release' : `All traffic to ${championOf(state)}`}; can be released again`,
  },
  promoteNow: { word: 'Promote by break-glass', look: 'danger', does: () => '' },
}

export const commandWord = (name: CommandName): string => buttons[name].word

function firstStep(state: ReleaseState): string {
  const [step] = stepsOf(state)
  return step === undefined ? '100 %' : stepText(step.stage, step.policy.shareBp)
}

type Viewed = Pick<ReleaseSubject, 'release' | 'nowMs'>

/** Returns the answer of the release to a command as if this user gave it now, so that a page offers what the release accepts. */
const answerTo = (command: CommandName, { name, id, role }: Actor, { release, nowMs }: Viewed): Advance =>
  advanceByCommand(release.state, {
    kind: 'command',
    atMs: nowMs,
    command,
    by: name,
    key: id,
    role,
    inScope: true,
    reason: 'given',
  })

/** Returns the commands that the release would accept from this user now, without a second command of the same effect. */
export function possibleCommands(actor: Actor, subject: Viewed): CommandName[] {
  const { state, endedAt } = subject.release
  if (endedAt !== undefined) return []
  const repeated: Partial<Record<CommandName, boolean>> = {
    rollback: isUnexposed(state),
    abort: state.promoted,
  }
  return commandNames.filter((name) => !repeated[name] && answerTo(name, actor, subject).applied)
}

/** The buttons of the bar. */
export interface DecisionBar {
  /** Sent with one tap; a reason is optional. */
  direct: CommandName[]
  /** The one button that ends the release. */
  stop?: {
    command: 'rollback' | 'reject' | 'abort'
    /** Whether the version may stay releasable: the release is then aborted. */
    mayRelease: boolean
  }
  breakGlass: boolean
}

/**
 * Arranges the commands. After its first request a release is rolled back, by one button: a rejection would do the same, and an abort differs in
 * that the version may be released again. Before it, nothing serves, so it is rejected by those who approve and aborted by others.
 */
export function decisionBar(commands: readonly CommandName[], state: ReleaseState): DecisionBar {
  const has = (name: CommandName) => commands.includes(name)
  const stop = (isUnexposed(state) ? (['reject', 'abort'] as const) : (['rollback', 'abort'] as const)).find(
    has,
  )
  return {
    direct: (['approve', 'resume', 'pause'] as const).filter(has),
    ...(stop !== undefined && { stop: { command: stop, mayRelease: stop === 'rollback' && has('abort') } }),
    breakGlass: has('promoteNow'),
  }
}

/** Explains why an approver cannot approve a release that waits for approval; undefined for an approver who can. */
function approvalRefusal(actor: Actor, subject: Viewed): string | undefined {
  const { state } = subject.release
  if (!commandRoles.approve.includes(actor.role) || !needsApprover(state)) return undefined
  const { applied, message } = answerTo('approve', actor, subject)
  return applied ? undefined : `You cannot approve: ${message}.`
}

const needsApprover = ({ stage }: ReleaseState): boolean =>
  stage === 'awaiting_approval' || stage === 'awaiting_decision'

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

const approvalReasons = ['Metrics look good', 'Checked slices', 'Checked data']
const stopReasons = ['Wrong data', 'Metrics look wrong', 'Callers report errors']

export const CommandForm = ({ subject, actor, token, once }: FormParts): PageElement => {
  const { state } = subject.release
  const commands = possibleCommands(actor, subject)
  if (commands.length === 0 || token === undefined) return <></>
  const refusal = approvalRefusal(actor, subject)
  const { direct, stop, breakGlass } = decisionBar(commands, state)
  const form = { subject, token, once }
  return (
    <section class="card decide" aria-labelledby="decide-heading" id="decide" data-shows={stageKey(subject)}>
      <h2 id="decide-heading" class="aloud">
        Decide
      </h2>
      {refusal !== undefined && <p class="notice small">{refusal}</p>}
      <p id="moved" class="notice warn" role="status" hidden>
        This release has changed. <a href={`/releases/${state.id}`}>Reload</a>
      </p>
      <div class="bar">
        {direct.length > 0 && (
          <SentForm {...form}>
            {direct.map((name) => (
              <Choice name={name} state={state} />
            ))}
            <details id="with-reason">
              <summary class="button second">Reason…</summary>
              <Reason name="reason-direct" suggestions={approvalReasons} isRequired={false} />
            </details>
          </SentForm>
        )}
        {stop !== undefined && (
          <div class="stop">
            <details id="stop">
              <summary class="button danger" aria-describedby={`does-${stop.command}`}>
                {buttons[stop.command].word}…
              </summary>
              <SentForm {...form}>
                <Reason name="reason-stop" suggestions={stopReasons} isRequired />
                {stop.mayRelease && (
                  <label class="check">
                    <input type="checkbox" name="again" value="yes" /> may be released again
                  </label>
                )}
                <CommandButton name={stop.command} />
              </SentForm>
            </details>
            <span id={`does-${stop.command}`} class="quiet small">
              {buttons[stop.command].does(state)}
            </span>
          </div>
        )}
        {breakGlass && (
          <details id="break-glass">
            <summary>{buttons.promoteNow.word}…</summary>
            <SentForm {...form}>
              <p class="small">
                A <Term word="break-glass promotion" /> skips approvals, minimum times and all stages but one:
                its requests, then 100 % if no regression, within 1 h, then the probation. A critical alert
                reports it.
              </p>
              <Reason name="reason-break-glass" isRequired />
              <CommandButton name="promoteNow" />
            </SentForm>
          </details>
        )}
      </div>
    </section>
  )
}

interface SentParts extends Pick<FormParts, 'subject' | 'once'> {
  token: string
  children?: Child
}

const SentForm = ({ subject, token, once, children }: SentParts): PageElement => (
  <form method="post" action={`/releases/${subject.release.state.id}/commands`}>
    <TokenField token={token} />
    <input type="hidden" name="once" value={once} />
    {Object.entries(shownFields(subject)).map(([name, value]) => (
      <input type="hidden" name={name} value={value} />
    ))}
    {children}
  </form>
)

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
  const persons = approversOf(approvals)
  const of = persons.length > needed ? '' : ` of ${needed}`
  const noun = (count: number) => (count === 1 ? 'approval' : 'approvals')
  return (
    <section aria-labelledby="activity-heading">
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
          { head: 'Time', cell: ({ at }) => <Time at={at} shows="second" /> },
          { head: 'Actor', names: true, cell: ({ actor }) => actor },
          { head: 'Action', cell: ({ command }) => commandWord(command) },
          {
            head: 'Status',
            cell: ({ accepted }) =>
              accepted === undefined ? (
                <Badge tone="bad">no answer yet</Badge>
              ) : accepted ? (
                <Badge tone="good">accepted</Badge>
              ) : (
                <Badge tone="quiet">rejected</Badge>
              ),
          },
          { head: 'Reason', cell: ({ reason }) => reason ?? '' },
          {
            head: 'Result',
            cell: ({ message, stage: at }) =>
              message === undefined || at === undefined ? '' : `${message} (${plain(at)})`,
          },
        ]}
      />
    </section>
  )
}
