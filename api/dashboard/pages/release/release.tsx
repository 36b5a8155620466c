/** Shows one release in the order in which an approver reads it: verdict, gates, slices, data, plan, evidence, lineage, form. */
import { randomUUID } from 'node:crypto'
import { definePage } from '../../page.ts'
import { Badge, Live } from '../../components/elements.tsx'
import { BehaviourTests } from '../../components/behaviour-tests.tsx'
import { drawImportance, ImportanceSection } from '../../components/importance.tsx'
import { Crumbs } from '../../components/links.tsx'
import { AnswersSection } from './answers.tsx'
import { CommandForm, possibleCommands, CommandLog } from './command-form.tsx'
import { RolloutPlan } from './policy.tsx'
import { drawGates, Gates, Slices } from './evaluation.tsx'
import { DataSection, LineageSection } from './lineage.tsx'
import { drawProgress, LiveEvidence } from './progress.tsx'
import { readSubject } from './load.ts'
import { VerdictSection } from './verdict.tsx'
import { stageRows } from './stages.ts'
import { plain } from '../../labels.ts'

export const releasePage = definePage({
  async load({ store }, { actor, params }) {
    const subject = await readSubject(store, actor, params['id']!)
    const { candidate } = subject
    const way = stageRows(subject)
    const [gates, importance, progress] = await Promise.all([
      candidate?.report && drawGates(candidate.evaluationDigest, candidate.report),
      drawImportance(subject.release.state.version, candidate?.report?.importance),
      drawProgress(subject, way),
    ])
    return { subject, way, gates, importance, progress }
  },
  title: ({ subject }) => `Release of ${subject.release.state.version}`,
  view({ subject, way, gates, importance, progress }, { actor, token, target }) {
    const { release, candidate } = subject
    const { state } = release
    const mayDecide = token !== undefined && possibleCommands(actor, subject).length > 0
    const content = (
      <>
        <VerdictSection subject={subject} />
        {mayDecide && (
          <p class="jump">
            <a href="#evidence-heading">Live evidence</a> · <a href="#decide">Decide</a>
          </p>
        )}
        {candidate?.report && <Gates report={candidate.report} chart={gates} />}
        {candidate?.report && <Slices report={candidate.report} />}
        <BehaviourTests tests={candidate?.report?.tests} />
        <ImportanceSection importance={candidate?.report?.importance} chart={importance} />
        <AnswersSection evidence={subject.answers} />
        <DataSection {...subject} />
        <RolloutPlan {...subject} />
        <LiveEvidence way={way} charts={progress} budget={state.policy.limits.harmBudget} />
        <LineageSection {...subject} />
        <CommandLog subject={subject} />
      </>
    )
    return (
      <>
        <Crumbs to={[[`/releases?model=${encodeURIComponent(state.model)}`, `Releases of ${state.model}`]]} />
        <h1>
          {state.version} <Badge tone="quiet">{plain(state.strategy)}</Badge>{' '}
          {state.drill !== undefined && <Badge tone="warn">drill: {state.drill}</Badge>}
          {state.hotfix !== undefined && <Badge tone="warn">hotfix: {state.hotfix.reason ?? ''}</Badge>}
        </h1>
        <Live id="release" target={target} everyMs={2_000} over={release.endedAt !== undefined}>
          {content}
        </Live>
        <CommandForm subject={subject} actor={actor} token={token} once={randomUUID()} />
      </>
    )
  },
})
