/**
 * Shows one release: its verdict as a sentence, its progress, what a decision rests on, and where candidate and control differ. All else
 * stands in parts that an address opens, such as `#gates`. The form is always visible.
 */
import { randomUUID } from 'node:crypto'
import { definePage, type PageElement } from '../../page.ts'
import { Live } from '../../components/elements.tsx'
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
import { Differences, RunningStage } from './stage/tiles.tsx'
import { StageTrack } from './stage/track.tsx'
import { Summary } from './summary.tsx'
import { VerdictSection } from './verdict.tsx'
import { runningStage, stageRows } from './stages.ts'
import { sentenceCase } from '../../labels.ts'

/** The parts below the first screen. The first is open unless the address names another, or an element of it. */
const panelNames = ['evidence', 'gates', 'data', 'plan', 'activity'] as const
type PanelName = (typeof panelNames)[number]

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
    const report = candidate?.report
    const panels: Readonly<Record<PanelName, PageElement>> = {
      evidence: (
        <>
          <RollbackSection subject={subject} stages={stages} />
          {isOpen && <RunningStage subject={subject} stages={stages} tiles={tiles} />}
          <LiveEvidence stages={stages} charts={progress} />
          <AnswersSection evidence={subject.answers} />
        </>
      ),
      gates: (
        <>
          {report ? <Gates report={report} chart={gates} /> : <p class="empty">No evaluation</p>}
          {report && <Slices report={report} />}
          <BehaviourTests tests={report?.tests} />
          <ImportanceSection importance={report?.importance} chart={importance} />
        </>
      ),
      data: (
        <>
          <DataSection {...subject} />
          <LineageSection {...subject} />
        </>
      ),
      plan: <RolloutPlan {...subject} />,
      activity: <CommandLog subject={subject} />,
    }
    return (
      <>
        <Crumbs to={[[`/releases?model=${encodeURIComponent(state.model)}`, `Releases of ${state.model}`]]} />
        <Live
          id="release"
          target={target}
          everyMs={2_000}
          over={!isOpen}
          stream={`/releases/${encodeURIComponent(state.id)}/changes`}
        >
          <VerdictSection subject={subject} actor={actor} />
          <StageTrack subject={subject} stages={stages} />
          {isOpen && <Differences stages={stages} tiles={tiles} />}
          <Summary subject={subject} stages={stages} />
          <nav class="tabs" aria-label="Parts of the release">
            {panelNames.map((name) => (
              <a href={`#${name}`}>{sentenceCase(name)}</a>
            ))}
          </nav>
          <div class="panels">
            {panelNames.map((name) => (
              <div id={name}>{panels[name]}</div>
            ))}
          </div>
        </Live>
        <CommandForm subject={subject} actor={actor} token={token} once={randomUUID()} />
      </>
    )
  },
})
