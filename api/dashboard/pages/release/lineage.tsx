/** Shows the validation and drift of a candidate's data, and its lineage. */
import { costText } from '../../../../domain/model/cost.ts'
import { loadText } from '../../../../domain/model/load-test.ts'
import { refitText } from '../../../../domain/training/refit.ts'
import { numberText } from '../../../../domain/figures.ts'
import { countText } from '../../../charts/figures.ts'
import { answerRows } from '../../../../domain/monitoring/drift.ts'
import type { PageElement } from '../../page.ts'
import { Badge, durationText, type Fact, Facts, DataTable, Time } from '../../components/elements.tsx'
import { levelText, levelTones, shortDigest } from '../../labels.ts'
import type { Candidate } from '../../../../store/dashboard/release-detail.ts'
import type { ReleaseSubject } from './load.ts'

const validationTexts: Readonly<Record<string, string>> = {
  pass: 'Training data passed validation',
  warn: 'Training data passed validation with warnings',
  block: 'Training data failed validation',
}

export const DataSection = ({ drift, candidate, release }: ReleaseSubject): PageElement => {
  const validation = candidate?.validation
  return (
    <section aria-labelledby="drift-heading">
      <h2 id="drift-heading">Data and drift</h2>
      {validation !== undefined && (
        <p>
          <Badge tone={validation.verdict === 'pass' ? 'good' : 'quiet'}>
            {levelText(validation.verdict)}
          </Badge>{' '}
          {validationTexts[validation.verdict] ?? 'Training data'}
          {validation.results.length > 0 && ': '}
          {validation.results.map(({ message }) => message).join('; ')}
        </p>
      )}
      {drift.map(({ version, level, toAt, report }) => {
        const moved = [...report.features, ...answerRows(report)]
          .filter((row) => row.level === 'alarm' || row.level === 'warn')
          .toSorted((a, b) => (b.psi ?? 0) - (a.psi ?? 0))
        return (
          <>
            <p>
              Input drift, {version === release.state.version ? 'candidate' : 'champion'} {version}:{' '}
              <LevelBadge level={level} />{' '}
              <span class="quiet small">
                to <Time at={toAt} />
              </span>
            </p>
            {moved.length > 0 && (
              <DataTable
                caption={`Drifted features and predictions of ${version}`}
                rows={moved.slice(0, 10)}
                empty=""
                columns={[
                  { head: 'Feature or prediction', names: true, cell: ({ name }) => name },
                  { head: 'PSI', numeric: true, cell: ({ psi }) => numberText(psi) },
                  { head: 'Rows', numeric: true, cell: ({ rows }) => countText(rows) },
                  { head: 'Level', cell: (row) => <LevelBadge level={row.level} /> },
                ]}
              />
            )}
          </>
        )
      })}
      {drift.length === 0 && (
        <p class="empty">
          {release.endedAt === undefined ? 'No drift data yet' : 'Ended before drift was measured'}
        </p>
      )}
    </section>
  )
}

const LevelBadge = ({ level }: { level: string }): PageElement => (
  <Badge tone={levelTones[level] ?? 'quiet'}>{levelText(level)}</Badge>
)

export const LineageSection = ({ candidate, release: { state } }: ReleaseSubject): PageElement => {
  if (candidate === undefined) return <></>
  const { lineage, loadTest, training, snapshot, rolledBackTwin } = candidate
  const author =
    state.requestedBy === candidate.createdBy ? '' : `; version created by ${candidate.createdBy}`
  const reason = lineage.reason === undefined ? '' : ` (${lineage.reason} retraining)`
  const hyperparameters = Object.entries(lineage.hyperparameters ?? {}).map(
    ([name, value]) =>
      `${name} ${value}${Object.hasOwn(lineage.overrides ?? {}, name) ? ' (set by the request)' : ''}`,
  )
  const facts: Fact[] = [
    ['Replaces', state.baseline ?? '— (first version)'],
    ...rollbackFacts(rolledBackTwin, state.version),
    ['Requested by', `${state.requestedBy}${author}${reason}`],
    ...(lineage.note === undefined ? [] : [['Reason', lineage.note] as Fact]),
    ...(lineage.breakGlass === undefined
      ? []
      : [['Break-glass', `the gate refused it (${lineage.breakGlass.retraining})`] as Fact]),
    [
      'Data',
      <>
        {countText(snapshot.rows)} rows as of <Time at={snapshot.asOf} />, snapshot{' '}
        <Digest digest={lineage.snapshot} />
      </>,
    ],
    [
      'Rows',
      lineage.rows === undefined
        ? 'unknown'
        : `${countText(lineage.rows.train)} to train, ${countText(lineage.rows.test)} to test`,
    ],
    ...(lineage.compression === undefined
      ? []
      : [['Compressed', `from ${lineage.compression.version}, ${lineage.compression.to}`] as Fact]),
    ...[refitText(lineage) ?? []].flat().map((refit): Fact => ['Refit', refit]),
    ...(state.cost === undefined ? [] : [['Cost', costText(state.cost)] as Fact]),
    ['Load test', loadTest === undefined ? 'none' : loadText(loadTest)],
    ...(lineage.floods ?? []).map((flood): Fact => ['Flood', flood]),
    [
      'Training',
      <>
        {training.epochs} epochs{training.ms === undefined ? '' : ` in ${durationText(training.ms)}`}
        {training.attempts > 1 ? `, ${training.attempts} attempts` : ''}, seed {lineage.seed ?? '—'},{' '}
        <span class="code">{lineage.trainingId ?? ''}</span>
      </>,
    ],
    ['Hyperparameters', hyperparameters.join(', ') || 'none'],
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
    <section aria-labelledby="lineage-heading">
      <h2 id="lineage-heading">Lineage</h2>
      <Facts facts={facts} />
    </section>
  )
}

const Digest = ({ digest = '—' }: { digest?: string | undefined }): PageElement => (
  <span class="code" title={digest}>
    {shortDigest(digest)}
  </span>
)

/** The last rollback of the artifact, under this version or another one. */
function rollbackFacts(twin: Candidate['rolledBackTwin'], version: string): Fact[] {
  if (twin === undefined) return []
  if (twin.version === version) return [['Rolled back', <Time at={twin.at} />]]
  return [
    [
      'Same artifact as',
      <>
        {twin.version}, which was rolled back at <Time at={twin.at} />
      </>,
    ],
  ]
}
