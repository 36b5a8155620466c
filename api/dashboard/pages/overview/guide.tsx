/**
 * Guides new users: shows the steps of a first model as they happen (first version, challenger, rollback), where to look, and what to try
 * next.
 */
import { whyWaiting } from '../../../../domain/release/explain.ts'
import { listReleases, type Release } from '../../../../store/release/releases.ts'
import { listRetrainings, type Retraining } from '../../../../store/training/retrainings.ts'
import { definePage, type PageElement } from '../../page.ts'
import { modelHref, retrainingHref } from '../../components/links.tsx'
import { Live } from '../../components/elements.tsx'
import { plain } from '../../labels.ts'
import { readStages, StageBadge, type StageNow } from '../../stage-badge.tsx'

/** The maximum number of releases shown; enough for a first run. */
const maxShown = 100

type ChapterStatus = 'passed' | 'in_progress' | 'upcoming'

interface Chapter {
  title: string
  /** What happens, for a first-time reader. */
  about: string
  /** What to look at when it happens. */
  look: string
  /** The command that begins it outside the demonstration. */
  command: 'retrain' | 'drills run'
  status: ChapterStatus
  /** The release in which the step happens. */
  release?: Release
}

const isPromoted = ({ outcome, state }: Release): boolean =>
  outcome === 'promoted' || state.stage === 'probation'

/** Returns the steps in order. The first step that has not happened is in progress. */
export function guideChapters(releases: readonly Release[]): Chapter[] {
  const oldestFirst = releases.toReversed().filter(({ state }) => state.drill === undefined)
  const first = oldestFirst.find((each) => isPromoted(each) && each.state.baseline === undefined)
  const challenger = oldestFirst.find((each) => isPromoted(each) && each.state.baseline !== undefined)
  const rolledBack = oldestFirst.find(
    ({ outcome, state }) => outcome === 'rolled_back' && state.routings.length > 0,
  )
  const chapters: Omit<Chapter, 'status'>[] = [
    {
      title: 'The first version is promoted',
      about:
        'A version is trained on the data known at a moment. There is no champion to compare it with, so it must meet the metric floors of its model file, and an approver decides.',
      look: 'its release: the offline gates, the approval and the training data',
      command: 'retrain',
      release: first,
    },
    {
      title: 'A challenger is compared with the champion',
      about:
        'A later training makes a challenger. On held-out rows it must be better than the champion, or not worse by more than a margin. Then it answers copies of requests (shadow), and then a rising share of the traffic (canary). Each stage needs evidence to continue.',
      look: 'its release: the stages, and the candidate beside the control',
      command: 'retrain',
      release: challenger,
    },
    {
      title: 'A faulty version is rolled back automatically',
      about:
        'A version may pass the gates and then fail in production, for example with invalid responses. The canary judge finds this in the live traffic, and every replica returns to the champion.',
      look: 'its release: the timeline, the failed requests and the draft of a post-mortem',
      command: 'drills run',
      release: rolledBack,
    },
  ]
  const at = chapters.findIndex(({ release }) => release === undefined)
  return chapters.map((chapter, i) => ({
    ...chapter,
    status: chapter.release !== undefined ? 'passed' : i === at ? 'in_progress' : 'upcoming',
  }))
}

/** Returns the releases of the model whose story has come furthest; of two, the one with the newest release. */
export function furthestStory(newestFirst: readonly Release[]): Release[] {
  const passed = (releases: readonly Release[]) =>
    guideChapters(releases).filter(({ status }) => status === 'passed').length
  const models = [...new Set(newestFirst.map(({ state }) => state.model))]
  const stories = models.map((model) => newestFirst.filter(({ state }) => state.model === model))
  // The sort is stable, so that the newest stays first among equals.
  return stories.toSorted((a, b) => passed(b) - passed(a))[0] ?? []
}

const marks: Record<ChapterStatus, readonly [mark: string, word: string]> = {
  passed: ['✓', 'done'],
  in_progress: ['●', 'now'],
  upcoming: ['○', 'to come'],
}

interface GuideFacts {
  chapters: Chapter[]
  model: string | undefined
  /** The release that is open now. */
  open: StageNow | undefined
  retraining: Retraining | undefined
}

const Now = ({
  guide: { model, open, retraining },
  command,
}: { guide: GuideFacts } & Pick<Chapter, 'command'>): PageElement => {
  if (open !== undefined)
    return (
      <p>
        Now: <a href={`/releases/${open.state.id}`}>{open.state.version}</a> <StageBadge {...open} />{' '}
        {open.warning === undefined && whyWaiting(open.state)}
      </p>
    )
  if (retraining !== undefined)
    return (
      <p>
        Now: <a href={retrainingHref(retraining.id)}>a version of {retraining.model} is being trained</a>.
      </p>
    )
  return (
    <p class="quiet">
      {model === undefined
        ? 'No version has been trained yet. In a project,'
        : 'Now: live traffic. In the demo the next step begins automatically. In a project,'}{' '}
      <code>
        npx tenure {command} {model ?? '<model>'}
      </code>{' '}
      {command === 'retrain' ? 'begins it' : 'rehearses it'}.
    </p>
  )
}

const ChapterItem = ({ chapter, guide }: { chapter: Chapter; guide: GuideFacts }): PageElement => {
  const { title, about, look, status, release } = chapter
  const [mark, word] = marks[status]
  return (
    <li class={status} aria-current={status === 'in_progress' ? 'step' : undefined}>
      <span class="mark" aria-hidden="true">
        {mark}
      </span>
      <span class="step">
        <strong>{title}</strong> <span class="aloud">{word}</span>
        <span>{about}</span>
        {release !== undefined && (
          <span>
            <strong>{release.state.version}</strong>:{' '}
            {release.outcome === undefined ? 'being released' : plain(release.outcome)}. Look at{' '}
            <a href={`/releases/${release.state.id}`}>{look}</a>.
          </span>
        )}
        {status === 'in_progress' && <Now guide={guide} command={chapter.command} />}
      </span>
    </li>
  )
}

/** Shows what to do after the guide; `npm start` prints the same three steps. */
const NextSteps = ({ model, isOver }: { model: string; isOver: boolean }): PageElement => (
  <section class={`card${isOver ? ' good' : ''}`} aria-labelledby="next-heading">
    <h2 id="next-heading">Three things to try next</h2>
    <ol class="next">
      <li>
        <strong>Simulate a release policy</strong> before you use it:{' '}
        <code>npx tenure simulate --scenario error:0.02 --releases 20</code>
      </li>
      <li>
        <strong>Rehearse a rollback</strong> with a deliberately faulty version:{' '}
        <code>npx tenure drills run {model}</code>. The page <a href="/drills">Drills</a> shows its result.
      </li>
      <li>
        <strong>Bring a model of your own</strong>: <code>npx tenure init ../my-project --from data.csv</code>{' '}
        writes a model file for a CSV, and <code>npx tenure check</code> checks it without a server.
      </li>
    </ol>
  </section>
)

export const guidePage = definePage({
  async load({ store }): Promise<GuideFacts> {
    const [all, [latest]] = await Promise.all([
      listReleases(store, { limit: maxShown }),
      listRetrainings(store, { limit: 1 }),
    ])
    const releases = furthestStory(all)
    const model = releases[0]?.state.model ?? latest?.model
    const open = releases.filter(({ endedAt }) => endedAt === undefined).map(({ state }) => state)
    const stages = await readStages(store, open)
    return {
      model,
      chapters: guideChapters(releases),
      open: [...stages.values()][0],
      retraining: latest?.model === model && latest?.endedAt === undefined ? latest : undefined,
    }
  },
  title: () => 'Guide',
  view: (guide, { target }) => {
    const { chapters, model } = guide
    const isOver = chapters.every(({ status }) => status === 'passed')
    return (
      <>
        <h1>Guide</h1>
        <p>
          Tenure retrains models, releases each version in stages on live traffic, and rolls it back when the
          evidence turns against it. This page follows these steps live
          {model !== undefined && (
            <>
              {' '}
              for <a href={modelHref(model)}>{model}</a>
            </>
          )}
          .
        </p>
        <Live id="story" target={target} over={isOver}>
          <ol class="track story card" aria-label="Steps">
            {chapters.map((chapter) => (
              <ChapterItem chapter={chapter} guide={guide} />
            ))}
          </ol>
          <NextSteps model={model ?? '<model>'} isOver={isOver} />
        </Live>
        <section class="card" aria-labelledby="where-heading">
          <h2 id="where-heading">Where to find it</h2>
          <ul>
            <li>
              <a href="/">Overview</a>: what is live, what needs a decision, what is at risk
            </li>
            <li>
              <a href="/releases">Releases</a>: evidence, decisions and commands
            </li>
            <li>
              <a href="/models">Models</a>: versions, live quality, drift and champion history
            </li>
            <li>
              <a href="/audit">Audit</a>: the tamper-evident log of every production change
            </li>
            <li>
              <a href="/glossary">Glossary</a>: the terms of releases and statistics
            </li>
          </ul>
        </section>
      </>
    )
  },
})
