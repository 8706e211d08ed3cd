import * as z from 'zod'
import { clientMessageSchemas, httpBodySchemas, serverMessageSchemas } from './message.schema.ts'
import { jsonForms } from './messages/common.schema.ts'

/** A JSON Schema (draft 2020-12). */
export type JsonSchema = { readonly [keyword: string]: unknown }

/** The JSON Schemas of all messages and of the bodies of HTTP, in JSON, by type or name, each whole in itself. */
export function jsonSchemas(): Readonly<Record<string, JsonSchema>> {
  const schemas: Record<string, z.ZodType> = { ...clientMessageSchemas, ...serverMessageSchemas, ...httpBodySchemas }
  return Object.fromEntries(Object.entries(schemas).map(([type, schema]) => [type, jsonSchema(schema)]))
}

function jsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, {
    metadata: jsonForms,
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema }) {
      // Unknown members are ignored, not refused (SPEC [FR12]).
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
      // What is not built must not be asked for.
      if (zodSchema._zod.def.type === 'undefined') jsonSchema.not = {}
      // The definitions are named by where they stand.
      delete jsonSchema.id
    },
  })
}
