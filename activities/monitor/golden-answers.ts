/** Alerts that the server of a champion gives other answers than those that were judged. */
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { openGoldenWatch } from '../artifact/golden-watch.ts'
import type { Deps } from '../deps.ts'

/** Asks the golden rows of a champion once. A server that gives no answer neither raises nor resolves the alert. */
export async function checkGoldenAnswers(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>,
  { model, version }: { model: string; version: string },
): Promise<void> {
  const golden = await openGoldenWatch(deps, version)
  const found = await golden.look()
  await golden.close()
  const dedupeKey = `golden/${model}`
  if (found === 'same' || found === 'own')
    await resolveAlert(
      deps.store,
      dedupeKey,
      found === 'own'
        ? `no server of others answers ${version}`
        : `${version}: its golden rows give the answers of its registration`,
    )
  if (typeof found === 'string') return
  await upsertAlert(deps.store, {
    dedupeKey,
    model,
    severity: 'critical',
    kind: 'serving_skew',
    message: `${version}: ${found.change}`,
    evidence: { version },
  })
}
