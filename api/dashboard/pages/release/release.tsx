/**
 * Shows one release in the order in which an approver reads it: verdict, stages, evidence, data, plan and lineage. The form is always
 * visible.
 */
import { randomUUID } from 'node:crypto'
import { definePage } from '../../page.ts'
import { Badge, Live } from '../../components/elements.tsx'
import { BehaviourTests } from '../../components/behaviour-tests.tsx'
import { drawImportance, ImportanceSection } from '../../components/importance.tsx'
import { Crumbs } from '../../components/links.tsx'
import { AnswersSection } from './answers.tsx'
import { CommandForm, CommandLog } from './command-form.tsx'
import { RolloutPlan } from './policy.tsx'
import { drawGates, Gates, Slices } from './evaluation.tsx'
import { DataSection, LineageSection } from './lineage.tsx'
import { drawProgress, LiveEvidence } from './progress.tsx'
import { readSubject } from './load.ts'
import { RollbackSection } from './rollback.tsx'
import { readMetricTiles } from './stage/metrics.ts'
import { RunningStage } from './stage/tiles.tsx'
import { StageTrack } from './stage/track.tsx'
import { VerdictSection } from './verdict.tsx'
import { runningStage, stageRows } from './stages.ts'
import { plain } from '../../labels.ts'

export const releasePage = definePage({
  async load({ store }, { params, zone }) {
    const subject = await readSubject(store, params['id']!)
    const { candidate } = subject
    const stages = stageRows(subject)
    const now = subject.release.endedAt === undefined ? runningStage(stages) : undefined
    const [gates, importance, progress, tiles] = await Promise.all([
      candidate?.report && drawGates(candidate.report),
      drawImportance(subject.release.state.version, candidate?.report?.importance),
      drawProgress(subject, stages, zone),
      now === undefined ? [] : readMetricTiles(subject, now),
    ])
    return { subject, stages, gates, importance, progress, tiles }
  },
  title: ({ subject }) => `Release of ${subject.release.state.version}`,
  view({ subject, stages, gates, importance, progress, tiles }, { actor, token, target }) {
    const { release, candidate } = subject
    const { state } = release
    const isOpen = release.endedAt === undefined
    const content = (
      <>
        <VerdictSection subject={subject} />
        <RollbackSection subject={subject} stages={stages} />
        <StageTrack subject={subject} stages={stages} />
        {isOpen && <RunningStage subject={subject} stages={stages} tiles={tiles} />}
        {candidate?.report && <Gates report={candidate.report} chart={gates} />}
        {candidate?.report && <Slices report={candidate.report} />}
        <BehaviourTests tests={candidate?.report?.tests} />
        <ImportanceSection importance={candidate?.report?.importance} chart={importance} />
        <LiveEvidence stages={stages} charts={progress} budget={state.policy.limits.harmBudget} />
        <AnswersSection evidence={subject.answers} />
        <DataSection {...subject} />
        <RolloutPlan {...subject} />
        <LineageSection {...subject} />
        <CommandLog subject={subject} />
      </>
    )
    return (
      <>
        <Crumbs to={[[`/releases?model=${encodeURIComponent(state.model)}`, `Releases of ${state.model}`]]} />
        <h1>
          {state.version} <Badge tone="quiet">{plain(state.strategy)} release</Badge>{' '}
          {state.policy.risk === 'high' && <Badge tone="warn">high risk</Badge>}{' '}
          {state.drill !== undefined && <Badge tone="warn">drill: {state.drill}</Badge>}
          {state.hotfix !== undefined && <Badge tone="warn">hotfix: {state.hotfix.reason ?? ''}</Badge>}
        </h1>
        <Live
          id="release"
          target={target}
          everyMs={2_000}
          over={!isOpen}
          stream={`/releases/${encodeURIComponent(state.id)}/changes`}
        >
          {content}
        </Live>
        <CommandForm subject={subject} actor={actor} token={token} once={randomUUID()} />
      </>
    )
  },
})
