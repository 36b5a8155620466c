/** Defines the query of a version search, shared by the route and the page. */
import { z } from 'zod'
import {
  metricNames,
  parseConditions,
  parseDigest,
  parseOrder,
  versionStatuses,
  type VersionStatus,
} from '../../domain/registry/version-query.ts'
import { cursorText } from './page-cursor.ts'
import { modelName, parsedBy, searchedTime } from './schemas.ts'

export const versionStatusNames = Object.keys(versionStatuses) as VersionStatus[]

export const searchedDigest = parsedBy(parseDigest, {
  pattern: '^(sha256:)?[0-9a-fA-F]{6,64}$',
  description: 'The first digits of a digest.',
})

const condition = String.raw` *(${metricNames.join('|')}) *(>=|<=|>|<|=) *[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})? *`

export const versionSearchFields = {
  model: modelName.optional(),
  status: z.enum(versionStatusNames, { error: `is one of ${versionStatusNames.join(', ')}` }).optional(),
  metric: parsedBy(parseConditions, {
    pattern: `^${condition}(,${condition})*$`,
    description: `Conditions that all hold, such as auc>0.8,brier<=0.2; metrics: ${metricNames.join(', ')}.`,
  }).optional(),
  since: searchedTime.optional(),
  until: searchedTime.optional(),
  data: searchedDigest.optional(),
  text: z.string().min(1).max(200).optional(),
  order: parsedBy(parseOrder, {
    pattern: `^(version|newest|oldest|-?(${metricNames.join('|')}))$`,
    description: 'A metric: the best first; with - before it, the worst first.',
  }).optional(),
  cursor: cursorText.optional(),
}
