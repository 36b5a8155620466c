/** Checks that the API responds and is ready, and how long its certificate lasts. Readiness includes its golden predictions. */
import { parseJson } from '../../domain/parse-json.ts'
import type { ApiFetch } from '../../store/tls/api-fetch.ts'
import { readCertificate, isUntrusted } from '../../store/tls/certificate.ts'
import type { TlsSettings } from '../../store/tls/settings.ts'
import { broken, ok, warning, type Finding } from './finding.ts'

const askMs = 5_000

export async function checkAnswer(url: string, call: ApiFetch = fetch): Promise<Finding> {
  const base = url.replace(/\/+$/, '')
  try {
    const answer = await call(`${base}/readyz`, { signal: AbortSignal.timeout(askMs) })
    const detail = parseJson<{ detail?: string }>(await answer.text())?.detail
    if (answer.ok) return ok('API', `${base} is ready`)
    return broken(
      'API',
      `${base} is not ready (${answer.status}${detail ? `: ${detail}` : ''})`,
      'Correct the problems below; the log of the API has more detail.',
    )
  } catch (error) {
    const cause = (error as { cause?: { code?: string; message?: string } }).cause
    if (cause?.code !== undefined && isUntrusted(cause.code))
      return broken(
        'API',
        `the certificate of ${base} is not trusted (${cause.code})`,
        'Set TENURE_TLS_CA to the file of the authority that signed it.',
      )
    return broken(
      'API',
      `${base} does not respond (${cause?.code ?? cause?.message ?? (error as Error).message})`,
      'Start it with `tenure up`, or correct TENURE_URL.',
    )
  }
}

const dayMs = 86_400_000
/** Public certificates last 47 to 90 days and are renewed when a third is left. */
const renewDays = 14

/** Reports an unusable certificate as `broken`. `nowMs` is the time of the check. */
export function checkCertificate(tls: TlsSettings, nowMs: number = Date.now()): Finding {
  try {
    const { endsMs, names } = readCertificate(tls, nowMs)
    const days = Math.floor((endsMs - nowMs) / dayMs)
    const found = `${tls.cert} (${names}) ends in ${days} days, on ${new Date(endsMs).toISOString().slice(0, 10)}`
    if (days >= renewDays) return ok('certificate', found)
    return warning(
      'certificate',
      found,
      'Replace the files of TENURE_TLS_CERT and TENURE_TLS_KEY; replicas read them within 5 s.',
    )
  } catch (error) {
    return broken(
      'certificate',
      (error as Error).message,
      'Correct the files; a replica that runs keeps its former certificate, and none can start.',
    )
  }
}
