/** Verifies the newest entries of the audit log and shows the result. */
import { numberText } from '../../../../domain/figures.ts'
import { countText } from '../../../charts/figures.ts'
import { compareWithHeads } from '../../../../store/audit/signed-heads.ts'
import { verifyTail } from '../../../../store/audit/audit-log.ts'
import { definePage } from '../../page.ts'
import { Facts } from '../../components/elements.tsx'
import { Crumbs } from '../../components/links.tsx'

/** Time limit of the verification, so that the page loads and other requests are served. */
const withinMs = 5_000

export const verificationPage = definePage({
  async load({ store, heads, isSigned }) {
    const fromMs = performance.now()
    const now = () => performance.now()
    const [report, last] = await Promise.all([
      compareWithHeads(heads, (known) => verifyTail(store, { heads: known, isSigned, withinMs, now })),
      heads.last(),
    ])
    return { report, tookMs: performance.now() - fromMs, signedUpTo: last?.seq }
  },
  title: () => 'Audit verification',
  view: ({ report, tookMs, signedUpTo }) => {
    const { rows, newest, oldest, heads, stopped, breach } = report
    const range = rows === 0 ? '—' : `entry ${newest} back to entry ${oldest}`
    const signed =
      signedUpTo === undefined
        ? 'no signed head on this host yet: removed newest entries would go unnoticed'
        : `entry ${signedUpTo}`
    return (
      <>
        <Crumbs to={[['/audit', 'Audit']]} />
        <h1>Audit verification</h1>
        <section
          class={`card ${breach === undefined ? 'good' : 'bad'}`}
          role={breach === undefined ? 'status' : 'alert'}
        >
          <p class="lead">
            {breach === undefined
              ? rows === 0
                ? 'No entries yet'
                : `Verified: ${countText(rows)} entries intact`
              : `Audit log broken: ${breach}`}
          </p>
          <Facts
            facts={[
              ['Range', stopped ? `${range} (stopped after ${withinMs / 1_000} s)` : range],
              ['Signed heads matched', countText(heads)],
              ['Signed up to', signed],
              ['Duration', `${numberText(Math.round(tookMs))} ms`],
            ]}
          />
          {breach !== undefined && (
            <p>
              Compare the database with a backup · <a href="/runbooks/audit-broken">Runbook</a>
            </p>
          )}
          {stopped && breach === undefined && (
            <p>
              Verify all entries: <code>tenure audit verify</code>
            </p>
          )}
        </section>
        <form method="get" action="/audit/verification" aria-label="Verification">
          <button class="second">Verify again</button>
        </form>
      </>
    )
  },
})
