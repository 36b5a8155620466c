/** Where the candidate comes from, how its data were found, and how what it meets has drifted. */
import type { View } from '../../page.ts'
import {
  Badge,
  countText,
  durationText,
  Facts,
  numberText,
  Table,
  Time,
  type Tone,
} from '../../components/elements.tsx'
import { plain, shortDigest } from '../../labels.ts'
import type { ReleaseSubject } from './load.ts'

const driftTone = (level: string): Tone =>
  level === 'alarm' ? 'bad' : level === 'warn' ? 'warn' : level === 'stable' ? 'good' : 'quiet'

export const Drift = ({ subject: { drift, candidate, release } }: { subject: ReleaseSubject }): View => {
  const validation = candidate?.validation
  return (
    <section class="card" aria-labelledby="drift-heading">
      <h2 id="drift-heading">Data and drift</h2>
      {validation !== undefined && (
        <p>
          The training data:{' '}
          <Badge tone={validation.verdict === 'pass' ? 'good' : 'warn'}>{validation.verdict}</Badge>{' '}
          {validation.results.map(({ message }) => message).join('; ')}
        </p>
      )}
      {drift.map(({ version, level, toAt, report }) => {
        const moved = report.features
          .filter((row) => row.level === 'alarm' || row.level === 'warn')
          .toSorted((a, b) => (b.psi ?? 0) - (a.psi ?? 0))
        return (
          <>
            <p>
              What {version} {version === release.state.version ? '(the candidate)' : '(the champion)'} is
              asked: <Badge tone={driftTone(level)}>{plain(level)}</Badge>{' '}
              <span class="quiet small">
                until <Time at={toAt} /> UTC
              </span>
            </p>
            {moved.length > 0 && (
              <Table
                caption={`Features of ${version} that have moved`}
                rows={moved.slice(0, 10)}
                empty=""
                columns={[
                  { head: 'Feature', names: true, cell: ({ name }) => name },
                  { head: 'Stability index', numeric: true, cell: ({ psi }) => numberText(psi) },
                  { head: 'Rows', numeric: true, cell: ({ rows }) => countText(rows) },
                  {
                    head: 'Level',
                    cell: ({ level: each }) => <Badge tone={driftTone(each)}>{each}</Badge>,
                  },
                ]}
              />
            )}
          </>
        )
      })}
      {drift.length === 0 && (
        <p class="empty">
          No window of serving has been judged for drift yet, neither of it nor of the champion.
        </p>
      )}
    </section>
  )
}

export const Lineage = ({ subject: { candidate, release } }: { subject: ReleaseSubject }): View => {
  const { state } = release
  if (candidate === undefined) return <></>
  const { lineage, training, snapshot } = candidate
  const facts: [string, View | string][] = [
    ['Replaces', state.baseline === undefined ? 'nobody: it is the first version' : state.baseline],
    [
      'Asked for by',
      `${state.requestedBy}; the version was made by ${candidate.createdBy}${lineage.reason === undefined ? '' : ` (${lineage.reason})`}`,
    ],
    [
      'Data',
      <>
        {countText(snapshot.rows)} rows as known at <Time at={snapshot.asOf} /> UTC, snapshot{' '}
        <Digest digest={lineage.snapshot} />
      </>,
    ],
    [
      'Rows',
      lineage.rows === undefined
        ? 'not known'
        : `${countText(lineage.rows.train)} to train, ${countText(lineage.rows.test)} to test`,
    ],
    [
      'Training',
      <>
        {training.epochs} epochs{training.ms === undefined ? '' : ` in ${durationText(training.ms)}`}
        {training.attempts > 1 ? `, ${training.attempts} attempts` : ''}, seed {lineage.seed ?? '–'},{' '}
        <span class="code">{lineage.trainingId ?? ''}</span>
      </>,
    ],
    [
      'Hyperparameters',
      Object.entries(lineage.hyperparameters ?? {})
        .map(([name, value]) => `${name} ${value}`)
        .join(', ') || 'none',
    ],
    [
      'Code',
      <>
        <Digest digest={lineage.code} />, dependencies <Digest digest={lineage.dependencies} />
      </>,
    ],
    [
      'Evaluation',
      <>
        <a href={`/v1/evaluations/${encodeURIComponent(candidate.evaluationId)}`}>{candidate.evaluationId}</a>{' '}
        <Digest digest={candidate.evaluationDigest} />
      </>,
    ],
    ['Artifact', <Digest digest={candidate.artifactDigest} />],
    ['Policy', <Digest digest={state.digests.policy} />],
  ]
  return (
    <section class="card" aria-labelledby="lineage-heading">
      <h2 id="lineage-heading">Lineage</h2>
      <Facts facts={facts} />
    </section>
  )
}

const Digest = ({ digest = '–' }: { digest?: string | undefined }): View => (
  <span class="code" title={digest}>
    {shortDigest(digest)}
  </span>
)
