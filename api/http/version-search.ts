/** Defines the query of a version search, shared by the route and the page. */
import { z } from 'zod'
import {
  parseConditions,
  parseDigest,
  parseOrder,
  versionStatuses,
  type VersionStatus,
} from '../../domain/registry/version-query.ts'
import { cursorText } from './page-cursor.ts'
import { modelName, parsedBy, searchedTime } from './schemas.ts'

export const versionStatusNames = Object.keys(versionStatuses) as VersionStatus[]

export const versionSearchFields = {
  model: modelName.optional(),
  status: z.enum(versionStatusNames, { error: `is one of ${versionStatusNames.join(', ')}` }).optional(),
  metric: parsedBy(parseConditions).optional(),
  since: searchedTime.optional(),
  until: searchedTime.optional(),
  data: parsedBy(parseDigest).optional(),
  text: z.string().min(1).max(200).optional(),
  order: parsedBy(parseOrder).optional(),
  cursor: cursorText.optional(),
}
