/** `/v1/evaluations/:id`: shows the evaluation of a challenger, as JSON or Markdown. */
import { evaluationRow, getEvaluation } from '../../../store/training/evaluations.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { toWire } from '../../http/schemas.ts'

export const evaluationRoutes = ({ store }: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/evaluations/:id', viewers, {
    summary:
      'Show the evaluation of a challenger with its inputs; as Markdown when text/markdown is accepted.',
    answers: { 200: 'The evaluation' },
    answerSchema: evaluationRow,
    answerMedia: 'text/markdown',
    async handle({ params, header }) {
      const id = params['id']!
      const found = await getEvaluation(store, id)
      const { page, ...evaluation } = found
      if (wantsMarkdown(header('accept'))) return { text: page, type: 'text/markdown; charset=utf-8' }
      return { json: toWire(evaluation) }
    },
  }),
]

/** Whether the client accepts Markdown. The order of the media types does not matter. */
function wantsMarkdown(accept = ''): boolean {
  return accept.split(',').some((each) => each.split(';')[0]?.trim().toLowerCase() === 'text/markdown')
}
