/** Lists predictions of a model that wait for a review, with one button for each label. */
import { countText } from '../../../charts/figures.ts'
import { percentText, numberText } from '../../../../domain/figures.ts'
import { isLoggedDigest, type LoggedRow } from '../../../../domain/model/logged-rows.ts'
import { decisionText } from '../../../../domain/tasks/output.ts'
import type { ReviewStratum } from '../../../../domain/review/estimate.ts'
import {
  listReviews,
  reviewDays,
  reviewers,
  type ReviewQueue,
} from '../../../services/review/review-queue.ts'
import { definePage, type PageElement } from '../../page.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { DataTable, Time } from '../../components/elements.tsx'
import { ModelCrumbs } from '../../components/links.tsx'

const shown = 50

export const reviewsPage = definePage({
  load: (deps, { params }) => listReviews(deps, { model: params['name']!, limit: shown }),
  title: ({ model }) => `Reviews of ${model}`,
  view: (queue, { actor, token }) => (
    <>
      <ModelCrumbs model={queue.model} />
      <h1>Reviews of {queue.model}</h1>
      {queue.band === undefined ? (
        <p class="empty">
          {queue.model} has no band for review: a range of doubtful answers that people check. Declare one
          with <code>review</code> of its label.
        </p>
      ) : (
        <>
          <p>
            Answers with {bandText(queue.band, queue.positive)} of the last {reviewDays} days that have no
            outcome, the oldest first.
          </p>
          <section class="card" aria-labelledby="waiting-heading">
            <h2 id="waiting-heading">Waiting</h2>
            <Waiting queue={queue} token={reviewers.includes(actor.role) ? token : undefined} />
          </section>
          <Estimate {...queue} />
        </>
      )}
    </>
  ),
})

const bandText = (band: NonNullable<ReviewQueue['band']>, positive: string | undefined): string =>
  'below' in band
    ? `a largest probability below ${numberText(band.below)}`
    : `a probability of ${positive} from ${numberText(band.from)} to ${numberText(band.to)}`

const Waiting = ({ queue, token }: { queue: ReviewQueue; token: string | undefined }): PageElement => (
  <DataTable
    caption="Waiting"
    hideCaption
    rows={queue.waiting}
    empty="No answer waits for a review"
    columns={[
      { head: 'Answered', names: true, cell: ({ at }) => <Time at={at} shows="second" /> },
      {
        head: 'Row',
        cell: ({ row }) =>
          Object.entries(row)
            .map(([name, value]) => `${name} ${loggedText(value)}`)
            .join(', '),
      },
      { head: 'Answer', cell: ({ answer }) => textOf(queue, answer) },
      {
        head: queue.positive === undefined ? 'Probability' : `Probability of ${queue.positive}`,
        numeric: true,
        cell: ({ outputs }) => numberText(Math.max(...outputs)),
      },
      {
        head: 'Your answer',
        cell: ({ predictionId, at }) =>
          token === undefined ? (
            '—'
          ) : (
            <form class="filter" method="post" action={`/models/${queue.model}/reviews`}>
              <TokenField token={token} />
              <input type="hidden" name="prediction" value={predictionId} />
              {choicesOf(queue).map(({ value, text }) => (
                <button class="second" name="value" value={value} aria-label={`${text}, answered ${at}`}>
                  {text}
                </button>
              ))}
            </form>
          ),
      },
    ]}
  />
)

const loggedText = (value: LoggedRow[string]): string | number =>
  isLoggedDigest(value)
    ? `is not shown: it is logged as a digest (SHA-256 ${value.sha256.slice(0, 16)}…)`
    : (value ?? 'missing')

const textOf = ({ positive }: ReviewQueue, answer: ReviewQueue['waiting'][number]['answer']): string =>
  positive !== undefined && typeof answer === 'boolean' ? decisionText({ positive }, answer) : String(answer)

const choicesOf = (queue: ReviewQueue): { value: string; text: string }[] =>
  queue.positive === undefined
    ? queue.classes.map((name) => ({ value: name, text: name }))
    : [true, false].map((answer) => ({ value: `=${answer}`, text: textOf(queue, answer) }))

const Estimate = ({ strata, estimate }: ReviewQueue): PageElement => {
  const share = (value: number | null) => (value === null ? '—' : percentText(value))
  const rows: (ReviewStratum & { name: string })[] = [
    { name: 'In the band', ...strata.band },
    { name: 'Outside', ...strata.rest },
  ]
  return (
    <section class="card" aria-labelledby="estimate-heading">
      <h2 id="estimate-heading">Accuracy with reviews</h2>
      {estimate.accuracy === null ? (
        <p>Not known yet: it needs reviews in the band, and outcomes outside.</p>
      ) : (
        <p>
          {share(estimate.accuracy)}
          {estimate.error === null ? '' : ` ± ${percentText(2 * estimate.error)}`}, each part weighed by its
          answers. Without the weights it would be {share(estimate.pooled)}: reviews come from the band alone.
        </p>
      )}
      <DataTable
        caption="Answers with a known outcome or review"
        rows={rows}
        empty="No answers"
        columns={[
          { head: 'Answers', names: true, cell: ({ name }) => name },
          { head: 'Count', numeric: true, cell: ({ predictions }) => countText(predictions) },
          { head: 'Known', numeric: true, cell: ({ known }) => countText(known) },
          { head: 'Right', numeric: true, cell: ({ right }) => countText(right) },
        ]}
      />
      <p class="hint">
        A review is not an outcome: no judge reads it. A later outcome replaces the review here.
      </p>
    </section>
  )
}
