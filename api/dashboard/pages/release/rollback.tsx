/** Shows how a release was rolled back: the evidence, the steps with their times, the exposed callers, and a draft of the post-mortem. */
import { countText } from '../../../charts/figures.ts'
import { joinMarkdown, markup } from '../../../../domain/markdown.ts'
import { commandOfAnother } from '../../../../domain/registry/version.ts'
import { approversOf } from '../../../../domain/release/approval.ts'
import { withoutEvidence } from '../../../../domain/release/explain.ts'
import type { Recovery } from '../../../../domain/release/state.ts'
import type { PageElement } from '../../page.ts'
import { DataTable, Time } from '../../components/elements.tsx'
import { FailedRequestsTable } from '../../components/failed-requests.tsx'
import { RunbookLink } from '../operations/alert-card.tsx'
import type { ReleaseSubject } from './load.ts'
import { stageRows, type StageArm, type StageRow } from './stages.ts'

interface RollbackStep {
  atMs: number
  what: string
}

/** Returns the steps with their times, oldest first. */
export function rollbackSteps(
  { release, verdicts, commands }: ReleaseSubject,
  stages: readonly StageRow[],
): RollbackStep[] {
  const { state, startedAt, endedAt } = release
  const { rollbackResult: result } = state
  const failing = verdicts.findLast(({ kind }) => kind === 'fail')
  const reason = release.reason ?? state.reason ?? ''
  const steps: RollbackStep[] = [
    { atMs: Date.parse(startedAt), what: `release of ${state.version} started by ${state.requestedBy}` },
    // The order below has the words of the command that caused it.
    ...commands.flatMap(({ accepted, message, at }) =>
      accepted && message !== undefined && (result === undefined || message !== reason)
        ? [{ atMs: Date.parse(at), what: message }]
        : [],
    ),
    ...stages.flatMap(({ fromMs, name }) =>
      fromMs === undefined ? [] : [{ atMs: fromMs, what: `${name} began` }],
    ),
  ]
  if (failing !== undefined)
    steps.push({
      atMs: Date.parse(failing.at),
      what: `verdict fail: ${withoutEvidence(release.reason ?? failing.reasons.map(({ message }) => message).join('; '))}`,
    })
  if (result !== undefined) {
    const why = failing === undefined ? `: ${reason}` : ''
    steps.push({ atMs: result.orderedMs, what: `rollback ordered${why}` })
    const champion = result.champion === undefined ? 'no champion' : `${result.champion} serves all traffic`
    const { unacknowledged } = result
    const what = isComplete(result, state.version)
      ? `every replica has dropped the candidate; ${champion}`
      : unacknowledged === undefined
        ? champion
        : `not acknowledged: ${unacknowledged.join('; ')}`
    steps.push({ atMs: result.acknowledgedMs, what })
  }
  if (endedAt !== undefined) steps.push({ atMs: Date.parse(endedAt), what: 'release ended' })
  return steps.sort((one, other) => one.atMs - other.atMs)
}

/** Whether every live replica has dropped the candidate. */
export const isComplete = ({ champion, unacknowledged }: Recovery, version: string): boolean =>
  unacknowledged === undefined && champion !== version

/** Counts the candidate's responses to callers, and the failed ones among them. */
export function exposedCounts(stages: readonly StageRow[]): {
  requests: number
  bad: number
  excess: number
} {
  const met = stages.filter(({ stage }) => stage !== 'shadow')
  const sum = (of: (row: StageRow) => number) => met.reduce((total, row) => total + of(row), 0)
  return {
    requests: sum((row) => received(row).reduce((total, { requests }) => total + requests, 0)),
    bad: sum((row) => received(row).reduce((total, { bad }) => total + bad, 0)),
    excess: Math.max(
      0,
      sum(({ excess }) => excess),
    ),
  }
}

/** The stage of targeted callers has them as its candidate; a later stage counts them apart. */
const received = ({ stage, candidate, targeted }: StageRow): StageArm[] =>
  stage === 'targeted' ? [candidate] : [candidate, targeted]

const second = (ms: number): string => new Date(ms).toISOString().slice(0, 23).replace('T', ' ')

export const RollbackSection = ({
  subject,
  stages,
}: {
  subject: ReleaseSubject
  stages: readonly StageRow[]
}): PageElement => {
  const { release, candidate } = subject
  const { id, model, version, baseline, drill } = release.state
  if ((release.outcome ?? release.state.outcome) !== 'rolled_back') return <></>
  const { requests, bad } = exposedCounts(stages)
  return (
    <section aria-labelledby="rollback-heading">
      <h2 id="rollback-heading">What happened</h2>
      <p>
        In all stages, callers received {countText(requests)} responses of the candidate; {countText(bad)}{' '}
        failed.
      </p>
      <p class="actions">
        <a class="button second" href={`/releases/${id}/post-mortem.md`} download>
          Post-mortem draft
        </a>
        <a class="button second" href={`/releases/${id}/exposed.csv`} download>
          Exposed predictions (CSV)
        </a>
        {baseline !== undefined && (
          <a
            class="button second"
            href={`/compare?one=${encodeURIComponent(baseline)}&other=${encodeURIComponent(version)}`}
          >
            Compare with champion
          </a>
        )}
        <a class="button second" href={`/alerts?model=${encodeURIComponent(model)}`}>
          Alerts
        </a>
        <RunbookLink kind="release_rolled_back" text="Runbook" />
      </p>
      {drill === undefined ? (
        <p class="small">
          Try again after a fix: <code>{commandOfAnother(model, candidate?.lineage ?? {})}</code>
        </p>
      ) : (
        <p class="small">
          A drill: the candidate was faulty on purpose, and this rollback was expected.{' '}
          <a href={`/drills?model=${encodeURIComponent(model)}`}>All drills</a>
        </p>
      )}
      <FailedRequestsTable rows={subject.failed} />
      <DataTable
        caption="Timeline"
        rows={rollbackSteps(subject, stages)}
        empty="No step is recorded"
        columns={[
          {
            head: 'Time',
            names: true,
            cell: ({ atMs }) => <Time at={new Date(atMs).toISOString()} shows="milliseconds" />,
          },
          { head: 'Step', bare: true, cell: ({ what }) => what },
        ]}
      />
    </section>
  )
}

/** Writes a draft with the recorded facts of the release, and with headings for the parts that people add. */
export function postMortem(subject: ReleaseSubject): string {
  const stages = stageRows(subject)
  const { release, candidate } = subject
  const { state, reason = '', startedAt, endedAt } = release
  const { requests, bad, excess } = exposedCounts(stages)
  const stageLines = stages
    .filter(({ fromMs }) => fromMs !== undefined)
    .map(
      ({ name, status, candidate: mine, control }) =>
        markup`| ${name} | ${status.replace('_', ' ')} | ${mine.requests} | ${mine.bad} | ${control.requests} | ${control.bad} |`,
    )
  const steps = rollbackSteps(subject, stages).map(({ atMs, what }) => markup`- ${second(atMs)} UTC: ${what}`)
  return markup`# Post-mortem: ${state.version} rolled back

- Release: ${state.id} of ${state.model}, ${state.strategy}, ${startedAt} to ${endedAt ?? 'now'}
- Requested by ${state.requestedBy}; approved by ${approversOf(state.approvals).join(', ') || 'no user'}
- Champion before and after: ${state.baseline ?? 'none'}, ${state.rollbackResult?.champion ?? 'none'}
- Artifact ${candidate?.artifactDigest ?? state.digests.artifact}, evaluation ${state.digests.evaluation}

## What was seen

${withoutEvidence(reason)}

## Impact

In all stages, ${requests} responses of the candidate reached callers, ${bad} of them failed, ${Number(excess.toPrecision(3))} more than at the control's rate.

| stage | result | candidate requests | failed | control requests | failed |
|---|---|---|---|---|---|
${joinMarkdown(stageLines, '\n')}

## Timeline

${joinMarkdown(steps, '\n')}

## Cause

_Why was the candidate worse, and why did the gate not find it?_

## What follows

- [ ] _A check that would have found it before the release_
- [ ] _The fix, and the retraining with it_
`.markdown
}
