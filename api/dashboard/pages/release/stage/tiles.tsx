/** Shows a running stage: where candidate and control differ, the evidence of each metric, and what promotes or rolls back the release. */
import { numberText } from '../../../../../domain/figures.ts'
import { countText, percentOf } from '../../../../charts/figures.ts'
import { bandText, bandTileSvg } from './band-tile.ts'
import { evidenceTileSvg } from './evidence-tile.ts'
import { outlookRequests, type MetricTile } from './metrics.ts'
import { ratioText, ratioTileSvg } from './ratio-tile.ts'
import { targetText } from '../../../../../domain/serving/target.ts'
import { isLastStage } from '../../../../../domain/release/evidence-builder.ts'
import { isBreakGlass, type ReleaseState } from '../../../../../domain/release/state.ts'
import type { PageElement } from '../../../page.ts'
import { Term } from '../../../glossary.tsx'
import { sentenceCase } from '../../../labels.ts'
import { Chart, durationText } from '../../../components/elements.tsx'
import type { ReleaseSubject } from '../load.ts'
import { excessOf, runningStage, type StageRow } from '../stages.ts'

interface StageParts {
  subject: ReleaseSubject
  stages: readonly StageRow[]
  tiles: readonly MetricTile[]
}

/**
 * The share of its threshold from which the evidence of a metric is shown as a difference. Without a difference, evidence of threshold
 * log(1/α) reaches a fifth of it with a probability of at most α^0.2 (Ville's inequality): 25 % at α = 0.001.
 */
const differsFrom = 0.2

/** Shows where candidate and control differ as tiles, and the other metrics in one line. */
export const Differences = ({ stages, tiles }: Pick<StageParts, 'stages' | 'tiles'>): PageElement => {
  const now = runningStage(stages)
  // Targeted callers have no control to be compared with.
  if (now === undefined || now.stage === 'targeted' || tiles.length === 0) return <></>
  const differing = tiles.filter(({ share }) => share >= differsFrom)
  const others = tiles.filter(({ share }) => share < differsFrom).map(({ name }) => shortName(name))
  return (
    <section aria-labelledby="differences-heading">
      <h2 class="aloud" id="differences-heading">
        Differences
      </h2>
      {differing.length > 0 && (
        <div class="tiles">
          {differing.map((tile) => (
            <Difference tile={tile} />
          ))}
        </div>
      )}
      {others.length > 0 && <p>No difference so far: {others.join(', ')}</p>}
    </section>
  )
}

/** `Slow responses (p95)` → `p95`, `Invalid outputs` → `invalid outputs`. */
const shortName = (name: string): string => /\((p\d+)\)/.exec(name)?.[1] ?? name.toLowerCase()

const Difference = ({
  tile: { name, candidate, control, details = [], share, effect },
}: {
  tile: MetricTile
}) => (
  <div class="tile">
    <h3>{name}</h3>
    {candidate !== '' && (
      <p>
        <strong>{candidate}</strong> <span class="quiet small">control {control}</span>
      </p>
    )}
    {details.map((line) => (
      <p class="small">{line}</p>
    ))}
    <progress
      class={share >= 1 ? 'bad' : undefined}
      value={Math.min(1, share)}
      max={1}
      aria-label={`${name}: evidence`}
    />
    <p class="quiet small">
      {percentOf(share)} of the way to {effect}
    </p>
  </div>
)

export const RunningStage = ({ subject, stages, tiles: compared }: StageParts): PageElement => {
  const now = runningStage(stages)
  if (now === undefined) return <></>
  const { state } = subject.release
  const tiles = now.stage === 'targeted' ? [] : compared
  return (
    <section aria-labelledby="running-heading">
      <h2 id="running-heading">
        {now.stage === 'targeted'
          ? 'Targeted callers meet the candidate'
          : `Candidate against control: ${now.name}`}
      </h2>
      <TargetedLine state={state} now={now} />
      {tiles.length > 0 && (
        <div class="tiles evidence">
          {tiles.map((tile) => (
            <EvidenceTile tile={tile} />
          ))}
        </div>
      )}
      {tiles.some(({ ratio }) => ratio !== undefined) && (
        <p class="hint">
          Line: the candidate’s rate as a multiple of the control’s, with the stages before the dotted line.{' '}
          <Term word="Band" />: the ratios still possible. Wholly above the red line, the release rolls back
          {tiles.some(({ ratio }) => ratio?.proof !== undefined) &&
            '; wholly below the green line, it is proven to be no worse'}
          .
        </p>
      )}
      <WhatHappens state={state} now={now} stages={stages} tiles={tiles} excess={excessOf(stages)} />
    </section>
  )
}

/** Shows who the targeted callers are, and how their requests went. */
const TargetedLine = ({ state, now }: { state: ReleaseState; now: StageRow }): PageElement => {
  const { targeted } = state.policy
  if (targeted === undefined || (now.stage !== 'targeted' && now.targeted.requests === 0)) return <></>
  return (
    <p class="hint">
      <Term word="Targeted" />: {targetText(targeted.target)}. {countText(now.targeted.requests)} requests in
      this stage, {countText(now.targeted.bad)} failed. Chosen callers are not compared; their failures count.
    </p>
  )
}

const EvidenceTile = ({
  tile: { name, key, candidate, control, points, share, ratio, band, effect, isSilent, details = [] },
}: {
  tile: MetricTile
}): PageElement => (
  <div class="tile">
    <h3>
      <Term word={name} />
    </h3>
    {candidate !== '' && (
      <p class="small">
        {ratio !== undefined && 'This stage: candidate '}
        {ratio === undefined && 'Candidate '}
        <strong>{candidate}</strong>
        <br />
        Control {control}
      </p>
    )}
    {ratio !== undefined ? (
      <>
        <Chart svg={ratioTileSvg(ratio, { id: `tile-${key}`, title: `${name}: candidate ÷ control` })} />
        <p class="small">All stages: {ratioText(ratio)}</p>
      </>
    ) : band !== undefined ? (
      <>
        <Chart svg={bandTileSvg(band, { id: `tile-${key}`, title: `${name}: share of other answers` })} />
        <p class="small">{sentenceCase(bandText(band))}</p>
      </>
    ) : share > 0 ? (
      <Chart
        svg={evidenceTileSvg(points, { id: `tile-${key}`, title: `Evidence against: ${name}`, effect })}
      />
    ) : (
      <p class="quiet small">
        {isSilent
          ? 'None in either version'
          : candidate === ''
            ? 'Nothing to compare yet'
            : 'No difference found'}
      </p>
    )}
    {details.map((line) => (
      <p class="small">{line}</p>
    ))}
    <p class="quiet small">
      {percentOf(share)} of the way to {effect}
    </p>
  </div>
)

interface Happening {
  state: ReleaseState
  now: StageRow
  stages: readonly StageRow[]
  tiles: readonly MetricTile[]
  excess: number
}

/** Describes what promotes and what rolls back the release, with the present figures. */
const WhatHappens = ({ state, now, stages, tiles, excess }: Happening): PageElement => {
  const { limits, watch } = state.policy
  const isHurried = isBreakGlass(state)
  const following = isHurried
    ? stages.find(({ stage }) => stage === 'probation')
    : stages[stages.indexOf(now) + 1]
  const next = following?.name ?? (now.stage === 'probation' ? 'the end of the release' : '100 %')
  const { minMs, minRequests, deadlineMs } = now.requirements
  const needsProof =
    now.stage !== 'targeted' &&
    !state.promoted &&
    limits.promotion !== 'off' &&
    (limits.promotion.at === 'every_stage' || isLastStage(state))
  const needsDecision = state.stage === 'awaiting_decision'
  const leftMs = deadlineMs * (1 + state.extensions) - now.observedMs
  const whenOpen = state.policy.whenInconclusive === 'end' ? 'the release ends' : 'an approver decides'
  const afterDeadline = isHurried
    ? ' or if inconclusive, the release rolls back'
    : ` the release rolls back; if inconclusive, ${whenOpen}`
  const more = (have: number, need: number, textOf: (value: number) => string) =>
    have >= need ? `${textOf(need)} (reached)` : `${textOf(need)} (${textOf(need - have)} more)`
  return (
    <dl class="outcomes">
      <dt>Continues to {next}</dt>
      <dd>
        {needsDecision && 'when an approver approves, or resumes the stage and it has:'}
        <ul>
          <li>{more(now.candidate.requests, minRequests, (count) => `${countText(count)} requests`)}</li>
          {minMs > 0 && <li>{more(now.observedMs, minMs, durationText)} observed</li>}
          <li>{now.stage === 'targeted' ? 'No harm found' : 'No regression'}</li>
          {needsProof &&
            tiles.flatMap(({ name, proof, ratio }) =>
              proof === undefined ? [] : [<li>{proofText(name, proof, ratio?.proof)}</li>],
            )}
        </ul>
      </dd>
      <dt>Rolls back</dt>
      <dd>
        <ul>
          {tiles.flatMap(({ name, rollsBackAt, share }) =>
            rollsBackAt === undefined
              ? []
              : [
                  <li>
                    {name}: if about {countText(rollsBackAt)} of the next {outlookRequests} requests fail (
                    {percentOf(share)} of the way to a rollback)
                  </li>,
                ],
          )}
          <li>
            When the <Term word="Failure budget" /> of {numberText(limits.harmBudget)} is used up (
            {numberText(Number(Math.max(0, excess).toPrecision(3)))} now)
          </li>
          <li>Above {percentOf(limits.guardRate)} failures, whatever the control does</li>
          <li>If monitoring stops for {durationText(watch.exposureMs)}</li>
        </ul>
      </dd>
      <dt>Deadline</dt>
      <dd>
        {needsDecision
          ? 'passed: an approver decides'
          : `${leftMs > 0 ? `in ${durationText(leftMs)}` : 'passed'}: without data${afterDeadline}`}
      </dd>
    </dl>
  )
}

/** Describes what a proof needs: `Errors below 2× control: 40 % proven, about 1,200 more requests without one`. */
function proofText(name: string, { share, requests }: NonNullable<MetricTile['proof']>, ratio = 1): string {
  const claim = `${name} below ${numberText(ratio)}× control`
  if (share >= 1) return `${claim}: proven`
  const further = requests === undefined ? '' : `, about ${countText(requests)} more requests without one`
  return `${claim}: ${percentOf(share)} proven${further}`
}
