/** Stores the label that a reviewer chose for a prediction. */
import { z } from 'zod'
import { DomainError } from '../../../../domain/errors.ts'
import type { ApiDeps } from '../../../deps.ts'
import type { RouteRequest, RouteResponse } from '../../../http/route.ts'
import { takeReviews } from '../../../services/review/review-queue.ts'
import { pageHeaders } from '../../security-headers.ts'

const form = z.object({ prediction: z.uuid(), value: z.string().min(1).max(1_000) })

export async function submitReview(
  deps: ApiDeps,
  { actor, body, params }: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const { data } = form.safeParse(body)
  if (data === undefined) throw new DomainError('invalid_request', 'a review needs a prediction and a value')
  const { prediction: predictionId, value } = data
  const model = params['name'] ?? ''
  // A button sends a text. The prefix distinguishes the boolean from a class that is called "true".
  const outcome = value === '=true' ? true : value === '=false' ? false : value
  await takeReviews(deps, actor!, { model, reviews: [{ predictionId, value: outcome }] })
  const location = `/models/${encodeURIComponent(model)}/reviews`
  return { status: 303, headers: { ...pageHeaders, location } }
}
