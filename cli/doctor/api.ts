/** Checks that the API responds and is ready. Readiness includes its golden predictions. */
import { parseJson } from '../../domain/parse-json.ts'
import { broken, ok, type Finding } from './finding.ts'

const askMs = 5_000

export async function checkAnswer(url: string): Promise<Finding> {
  const base = url.replace(/\/+$/, '')
  try {
    const answer = await fetch(`${base}/readyz`, { signal: AbortSignal.timeout(askMs) })
    const detail = parseJson<{ detail?: string }>(await answer.text())?.detail
    if (answer.ok) return ok('API', `${base} is ready`)
    return broken(
      'API',
      `${base} is not ready (${answer.status}${detail ? `: ${detail}` : ''})`,
      'Correct the problems below; the log of the API has more detail.',
    )
  } catch (error) {
    const cause = (error as { cause?: { code?: string; message?: string } }).cause
    return broken(
      'API',
      `${base} does not respond (${cause?.code ?? cause?.message ?? (error as Error).message})`,
      'Start it with `tenure up`, or correct TENURE_URL.',
    )
  }
}
