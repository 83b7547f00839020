"""The page on which people settle the suspects of an audit: one offline HTML file."""

from ilion.report.audit.page import render_audit, write_audit_page

__all__ = ["render_audit", "write_audit_page"]
